package market

import (
	"context"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// A Vendor is this node's own vendor identity: the root key of its passport, the
// next one, to which the passport has committed, its operational keys and inboxes.
type Vendor struct {
	ID    protocol.VendorID
	Root  protocol.Shared
	Next  protocol.Shared
	Keys  []VendorKeys // newest last
	Chain [][]byte
}

// VendorKeys are one generation of operational key and inbox.
type VendorKeys struct {
	Sign, Seal, Box protocol.Shared
	From, Until     protocol.Second
}

// keyLife is how long an operational key and its inbox serve.
const keyLife = 365 * protocol.Day

// errNoPassport says that this node is no vendor yet.
var errNoPassport = fmt.Errorf("this node has no passport; issue one first: %w", fault.NotFound)

func vendorKeys(r kv.Reader) (Vendor, error) {
	var v Vendor
	err := records.GetSetting(r, settingVendor, &v)
	if errors.Is(err, fault.NotFound) {
		return v, errNoPassport
	}
	return v, err
}

// current is the generation that signs at a moment.
func (v Vendor) current(now protocol.Second) VendorKeys {
	for i := len(v.Keys) - 1; i >= 0; i-- {
		if k := v.Keys[i]; k.From <= now && now < k.Until {
			return k
		}
	}
	return v.Keys[len(v.Keys)-1]
}

// after gives the generation of key k while its dates hold, and else the one that
// signs at a moment. A customer who knows an older passport can so check a Receipt.
func (v Vendor) after(k key.OperationalKey, now protocol.Second) VendorKeys {
	for _, g := range v.Keys {
		if now < g.Until && key.FromSeed[key.Operational](g.Sign.Secret()).Public() == k {
			return g
		}
	}
	return v.current(now)
}

// inbox finds the keys of an inbox, within its dates only.
func (v Vendor) inbox(box key.MailboxKey, now protocol.Second) (VendorKeys, bool) {
	for _, k := range v.Keys {
		if key.FromSeed[key.Mailbox](k.Box.Secret()).Public() == box {
			return k, now < k.Until
		}
	}
	return VendorKeys{}, false
}

// A Profile is what a vendor says of itself in its passport.
type Profile struct {
	Name, Registration, Contact, Officer, Authority string
	Country                                         protocol.Region
	Uses                                            []protocol.IntendedUse
}

// DefaultUses are what a passport registers where its vendor says nothing: the usual
// fields, in order to make offers.
func DefaultUses() []protocol.IntendedUse {
	fields := []protocol.FieldName{
		"contact.delivery-address", "contact.email", "contact.hours", "contact.phone", "demographic.age-range", "identity.name",
		"location.area", "location.city", "location.postcode", "preference.brand", "preference.delivery", "vehicle.model",
	}
	return []protocol.IntendedUse{{Purpose: protocol.PurposeOffer, Fields: fields, Retention: terms.MaxRetention}}
}

// graceAfterRotation is how long the keys of the passport before still serve.
const graceAfterRotation = 30 * protocol.Day

// The first-contact lane of a vendor's inbox.
const (
	inboxEffort = 12
	inboxQuota  = 256
)

// IssuePassport makes the first passport, or the next one with fresh keys, signed by
// the root key to which the last one committed.
func (m *Market) IssuePassport(ctx context.Context, p Profile) error {
	return m.command(ctx, "passport", func(t *turn) error {
		v, err := vendorKeys(t)
		if err != nil && !errors.Is(err, errNoPassport) {
			return err
		}
		root := key.Generate[key.Root]()
		if len(v.Chain) > 0 {
			root = key.FromSeed[key.Root](v.Next.Secret())
		}
		next := key.Generate[key.Root]()
		if len(p.Uses) == 0 {
			p.Uses = DefaultUses()
		}
		pass, err := t.draftPassport(&v, p, root, next)
		if err != nil {
			return err
		}
		signed, err := wire.Sign(root, pass)
		if err != nil {
			return fmt.Errorf("passport: %w", err)
		}
		v.Chain = append(v.Chain, signed)
		if len(v.Chain) == 1 {
			v.ID = wire.ID(signed)
		}
		size := 0
		for _, raw := range v.Chain {
			size += len(raw)
		}
		if size > protocol.MaxChain {
			return fmt.Errorf("%d passports of %d bytes do not fit into a request, which holds %d: %w", len(v.Chain), size, protocol.MaxChain, fault.Full)
		}
		if _, err := wire.OpenChain(v.Chain, m.cfg.Net); err != nil {
			return fmt.Errorf("passport: %w", err)
		}
		v.Root, v.Next = protocol.Share(root.Seed()), protocol.Share(next.Seed())
		if err := records.PutSetting(t, settingVendor, v); err != nil {
			return err
		}
		if err := t.note("passport.issued", map[string]string{"vendor": v.ID.String(), "seq": fmt.Sprint(pass.Seq)}); err != nil {
			return err
		}
		return t.publish(v, pass)
	})
}

// draftPassport makes a new generation of keys and the passport that lists it
// beside those that still serve.
func (t *turn) draftPassport(v *Vendor, p Profile, root, next key.Private[key.Root]) (*protocol.Passport, error) {
	for i := range v.Keys {
		v.Keys[i].Until = min(v.Keys[i].Until, t.now+graceAfterRotation)
	}
	sign, lock, box := key.Generate[key.Operational](), key.GenerateSeal[key.InboxSeal](), key.Generate[key.Mailbox]()
	g := VendorKeys{
		Sign: protocol.Share(sign.Seed()), Seal: protocol.Share(lock.Seed()), Box: protocol.Share(box.Seed()),
		From: t.now, Until: t.now + keyLife,
	}
	if len(v.Keys) >= protocol.MaxOperators {
		v.Keys = v.Keys[len(v.Keys)-protocol.MaxOperators+1:]
	}
	v.Keys = append(v.Keys, g)
	keepers := t.m.ownKeepers()
	pass := &protocol.Passport{
		Header: t.header(protocol.KindPassport, protocol.Hash{}, protocol.Hash{}, keyLife),
		Vendor: v.ID, Root: root.Public(), Next: wire.NextRoot(next.Public()),
		Inbox: protocol.Inbox{Box: box.Public(), Seal: lock.Public(), Keepers: keepers, Effort: inboxEffort, Quota: inboxQuota},
		Name:  p.Name, Registration: p.Registration, Country: p.Country, Contact: p.Contact,
		Officer: p.Officer, Authority: p.Authority, Uses: p.Uses,
	}
	pass.Seq = uint64(len(v.Chain) + 1)
	if n := len(v.Chain); n > 0 {
		pass.Re = wire.ID(v.Chain[n-1])
	}
	for _, k := range v.Keys {
		pass.Operational = append(pass.Operational, protocol.Operational{
			Key:   key.FromSeed[key.Operational](k.Sign.Secret()).Public(),
			Roles: protocol.RoleRequests | protocol.RoleNodes | protocol.RoleInbox, From: k.From, Until: k.Until,
		})
	}
	return pass, t.read(box, records.BoxInbox, v.ID, keepers, g.Until)
}

// publish hands a passport chain to the board and to keepers.
func (t *turn) publish(v Vendor, p *protocol.Passport) error {
	latest := v.Chain[len(v.Chain)-1]
	return t.post(outbox.Item{
		What: outbox.Passport, Data: latest, Keepers: p.Inbox.Keepers, Envelope: wire.ID(latest),
		First: protocol.FirstContact{Chain: v.Chain}, Kind: protocol.KindPassport, Grant: v.ID, Expires: p.Expires,
	})
}

// Vendor reads this node's vendor identity; fault.NotFound where it has none.
func (m *Market) Vendor(ctx context.Context) (v Vendor, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		v, err = vendorKeys(r)
		return err
	})
	return v, err
}
