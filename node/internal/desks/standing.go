package desks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// giveDays is how long a relation's grant lasts where nobody says, and maxGiveDays the
// longest: keepers accept the capability to its duty mailbox for a month more.
const (
	giveDays    = 360
	maxGiveDays = int(protocol.MaxRelation / protocol.Day)
)

// leases that she may choose herself.
const (
	minLease = time.Hour
	maxLease = 7 * 24 * time.Hour
)

// Give implements desk.Grants.
func (d Grants) Give(ctx context.Context, spec desk.GiveSpec) (desk.Grant, error) {
	v, err := d.wholeVendor(ctx, spec.Vendor)
	if err != nil {
		return desk.Grant{}, err
	}
	g, err := gift(spec)
	g.Vendor = v
	if err != nil {
		return desk.Grant{}, err
	}
	purpose := protocol.Purpose(spec.Purpose)
	if purpose == "" {
		purpose = protocol.PurposeOffer
	}
	if !purpose.Known() {
		return desk.Grant{}, fmt.Errorf("purpose %q: %w", spec.Purpose, fault.Malformed)
	}
	if g.Fields, err = d.ownFields(ctx, spec.Fields, purpose); err != nil {
		return desk.Grant{}, err
	}
	if err := d.FetchPassport(ctx, g.Vendor); err != nil {
		return desk.Grant{}, err
	}
	id, err := d.Market.Give(ctx, g)
	if err != nil {
		return desk.Grant{}, err
	}
	return d.Get(ctx, id.String())
}

// wholeVendor reads the id of a vendor that is given something without having asked: all
// of it, as another's id may be made to begin alike.
func (o *Office) wholeVendor(ctx context.Context, text string) (v protocol.VendorID, err error) {
	if v.UnmarshalText([]byte(text)) == nil {
		return v, nil
	}
	known, err := o.knownVendor(ctx, text)
	if err != nil {
		return v, err
	}
	if known.String() != text {
		return v, fmt.Errorf("%s is the beginning of vendor %s: to give it something, name all of its id: %w", text, known, fault.Malformed)
	}
	return known, nil
}

// gift reads all of what is given but the vendor and the fields.
func gift(spec desk.GiveSpec) (g market.Gift, err error) {
	if spec.Days == 0 {
		spec.Days = giveDays
	}
	lease := time.Duration(spec.LeaseSeconds) * time.Second
	switch {
	case spec.Days < 1 || spec.Days > maxGiveDays:
		return g, fmt.Errorf("%d days, want 1 to %d: %w", spec.Days, maxGiveDays, fault.Malformed)
	case spec.PerDay < 0 || spec.PerDay > protocol.MaxPerDay:
		return g, fmt.Errorf("%d disclosures a day, want 1 to %d, or 0 for no limit: %w", spec.PerDay, protocol.MaxPerDay, fault.Malformed)
	case spec.LeaseSeconds != 0 && (spec.LeaseSeconds < 0 || lease < minLease || lease > maxLease):
		return g, fmt.Errorf("a lease of %d seconds, want %v to %v: %w", spec.LeaseSeconds, minLease, maxLease, fault.Malformed)
	case spec.PerDay > 0 && lease > 0 && lease < 48*time.Hour/time.Duration(spec.PerDay):
		return g, fmt.Errorf("a lease of %v is renewed more often than %d disclosures a day allow: %w", lease, spec.PerDay, fault.Malformed)
	case spec.Once && lease > 0:
		return g, fmt.Errorf("what may be used once has no lease: %w", fault.Malformed)
	}
	g.Name, g.Life, g.Lease = spec.Name, protocol.Second(spec.Days)*protocol.Day, protocol.Second(spec.LeaseSeconds)
	g.PerDay, g.Once = uint32(spec.PerDay), spec.Once
	return g, nil
}

// Revoke implements desk.Grants.
func (d Grants) Revoke(ctx context.Context, ids []string, q desk.Query, reason string) ([]desk.Grant, error) {
	field := protocol.FieldName(q.Field)
	if q.Field != "" && !field.WellFormed() {
		return nil, fmt.Errorf("field %q is no field name, which is like contact.email: %w", q.Field, fault.Malformed)
	}
	grants, err := d.toRevoke(ctx, ids, q, field)
	if err != nil {
		return nil, err
	}
	left, err := d.unrevoked(ctx, grants, field)
	if err != nil {
		return nil, err
	}
	if field != "" {
		err = d.Market.WithdrawField(ctx, left, field, reason)
	} else {
		err = d.Market.Revoke(ctx, left, reason)
	}
	if err != nil {
		return nil, err
	}
	out := []desk.Grant{}
	for _, id := range grants {
		v, err := d.Get(ctx, id.String())
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// toRevoke lists the grants that are meant: those named, or all that q selects. With a
// field, of the latter those that still give it.
func (d Grants) toRevoke(ctx context.Context, ids []string, q desk.Query, field protocol.FieldName) (grants []protocol.GrantID, err error) {
	for _, id := range ids {
		gid, err := d.resolve(ctx, records.Agreements, id)
		if err != nil {
			return nil, err
		}
		grants = append(grants, gid)
	}
	if len(ids) > 0 {
		return grants, nil
	}
	if err := d.known(ctx, q); err != nil {
		return nil, err
	}
	since := d.Market.Since(ctx)
	err = d.view(ctx, func(r kv.Reader) error {
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			gives := field == "" || !a.Standing.Lacks(field) &&
				slices.ContainsFunc(a.Terms.Fields, func(f protocol.FieldGrant) bool { return f.Name == field })
			ended := field == "" && since > 0 && a.Times.Revoked >= since // by this very request
			if a.Flow.Me == protocol.Customer && (a.Flow.State.Live() && gives || ended) && fits(q, a) {
				grants = append(grants, a.ID)
			}
			return true, nil
		})
	})
	return grants, err
}

// unrevoked leaves out, where a revocation of several grants was cut off and is asked for
// again, those that it ended or took the field from before.
func (d Grants) unrevoked(ctx context.Context, grants []protocol.GrantID, field protocol.FieldName) (left []protocol.GrantID, err error) {
	since := d.Market.Since(ctx)
	if since == 0 {
		return grants, nil
	}
	err = d.view(ctx, func(r kv.Reader) error {
		for _, id := range grants {
			a, err := records.GetAgreement(r, id)
			if err != nil {
				return err
			}
			if a.Times.Revoked < since && (field == "" || !a.Standing.Lacks(field)) {
				left = append(left, id)
			}
		}
		return nil
	})
	return left, err
}
