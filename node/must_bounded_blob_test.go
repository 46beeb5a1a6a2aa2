package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/carrier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/blobs"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// blobFloods are done to what a keeper keeps of large values. Small copies count as one
// chunk each.
var blobFloods = []flood{
	{bound: "blobs.kept", limits: node.Limits{Blobs: blobs.Policy{Kept: 4}}, refused: fault.Full, attack: copies(6, false, false), after: keepsForHer},
	{bound: "blobs.kept-per-box", limits: node.Limits{Blobs: blobs.Policy{KeptPerBox: 3}}, refused: fault.Full, attack: copies(5, true, false), after: keepsForHer},
	{bound: "blobs.bytes", limits: node.Limits{Blobs: blobs.Policy{Bytes: 5 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(7, false, false), after: keepsForHer},
	{bound: "blobs.bytes-per-box", limits: node.Limits{Blobs: blobs.Policy{BytesPerBox: 3 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(5, true, false), after: keepsForHer},
	{bound: "blobs.bytes-per-prefix", limits: node.Limits{Blobs: blobs.Policy{BytesPerPrefix: 3 * protocol.CopyChunk}}, refused: fault.Full, attack: copies(5, false, true), after: keepsForHer},
	{bound: "blobs.tombs", limits: node.Limits{Blobs: blobs.Policy{Tombs: 4}}, attack: graves(6, false), after: keepsForHer},
	{bound: "blobs.tombs-per-box", limits: node.Limits{Blobs: blobs.Policy{TombsPerBox: 3}}, attack: graves(6, true), after: keepsForHer},
}

// blob opens a session from an address prefix of its own.
func (f *field) blob() *keeper.Session {
	f.Helper()
	s, err := f.client().Blob(f.Context(), f.target.Port.Self())
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// leaveCopy puts a small copy of nothing.
func leaveCopy(t *testing.T, s *keeper.Session, box key.Private[key.Mailbox]) (protocol.Hash, error) {
	raw, id := bytes.Repeat([]byte{1}, 100), wire.NewID()
	copy(raw, id[:])
	token := large.Token(key.NewSecret())
	op := protocol.BlobOp{Digest: sha256.Sum256(raw), Size: 100, Token: sha256.Sum256(token[:]), Expires: second() + 3*protocol.Minute}
	return op.Digest, s.PutCopy(t.Context(), box, op, func(uint32) ([]byte, error) { return raw, nil })
}

// copies leaves so many, in one mailbox or each in another, from one address prefix or each
// from another.
func copies(n int, oneBox, onePrefix bool) func(*field) error {
	return func(f *field) (err error) {
		s, box := f.blob(), key.Generate[key.Mailbox]()
		for range n {
			if !onePrefix {
				s = f.blob()
			}
			if !oneBox {
				box = key.Generate[key.Mailbox]()
			}
			if _, err = leaveCopy(f.T, s, box); err != nil && !errors.Is(err, fault.Full) {
				f.Fatal(err)
			}
		}
		return err
	}
}

// graves deletes copies that are there and some that never were.
func graves(n int, oneBox bool) func(*field) error {
	return func(f *field) error {
		s, box := f.blob(), key.Generate[key.Mailbox]()
		for i := range n {
			if !oneBox {
				box = key.Generate[key.Mailbox]()
			}
			digest, err := leaveCopy(f.T, s, box)
			if err == nil {
				err = s.DeleteCopies(f.Context(), box, digest, protocol.Hash{1, byte(i)})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// keepsForHer deletes nothing of others and is of use again once there is room: of the
// floods that leave none, once what they left has expired.
func keepsForHer(f *field) {
	s, box := f.blob(), key.Generate[key.Mailbox]()
	if _, err := leaveCopy(f.T, s, box); err == nil {
		return
	}
	f.w.Until(10*time.Minute, "room for somebody else", func() (bool, error) {
		_, err := leaveCopy(f.T, f.blob(), box)
		if errors.Is(err, fault.Full) {
			return false, nil
		}
		return err == nil, err
	})
}

// largeFloods fill what a customer's and a vendor's own node do with large values.
var largeFloods = map[string]func(t *testing.T){
	"held.bytes":      func(t *testing.T) { synctest.Test(t, heldBytesFlood) },
	"carrier.parcels": func(t *testing.T) { synctest.Test(t, parcelsFlood) },
}

// heldBytesFlood gives a vendor more large values than it has room for: their small values
// come all the same, and there is room again for another customer's once one is revoked.
func heldBytesFlood(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	w.Limits = node.Limits{HeldBytes: 70_000}
	b := &blobWorld{T: t, w: w, vendor: w.Public("bank")}
	w.Limits = node.Limits{}
	for range 2 {
		b.keepers = append(b.keepers, w.Carrier("keeper"))
	}
	time.Sleep(5 * time.Second)
	b.vendor.Sell("")
	own, err := b.vendor.Vendor().Passports().Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.own = own.Vendor
	var all []*nodetest.Member
	var grants []desk.Grant
	for i, name := range []string{"thandi", "sipho", "lerato"} {
		b.her = w.Personal(name)
		all = append(all, b.her)
		time.Sleep(5 * time.Second)
		b.her.Fill(map[string]string{"contact.email": name + "@example.org"})
		b.upload("document.address-proof", document(uint64(i), 70_000))
		grants = append(grants, b.give("contact.email", "document.address-proof"))
		b.comes(grants[i], "contact.email", []byte(name+"@example.org"))
		if i == 0 {
			b.comes(grants[i], "document.address-proof", document(0, 70_000))
		}
	}
	v, err := b.vendor.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if wrong := overruns(v.Bounds, []string{"held.bytes"}); len(wrong) > 0 || !slices.ContainsFunc(v.Bounds, func(f desk.Fill) bool { return f.Name == "held.bytes" && f.Used == f.Cap }) {
		t.Error(wrong, v.Bounds)
	}
	if _, err := b.read(grants[1].ID, "document.address-proof"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a value for which there is no room: %v", err)
	}
	if _, err := all[0].Customer().Grants().Revoke(t.Context(), []string{grants[0].ID}, desk.Query{}, ""); err != nil {
		t.Fatal(err)
	}
	w.Until(5*time.Minute, "a deletion", func() (bool, error) {
		v, err := all[0].Customer().Grants().Get(t.Context(), grants[0].ID)
		return v.State == "deleted", err
	})
	b.upload("document.address-proof", document(7, 60_000)) // lerato's
	b.comes(grants[2], "document.address-proof", document(7, 60_000))
}

// parcelsFlood gives a carrier more to do at once than it carries: the rest waits, and is
// done.
func parcelsFlood(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &hangs{gate: make(chan struct{}), left: map[protocol.Hash]bool{}}
	for i := range byte(20) {
		m.left[protocol.Hash{i + 1}] = true
	}
	work := crew.New(ctx, carrier.Most+1, nil)
	c := carrier.New(carrier.Config{Market: m, KV: kv.Memory(), Held: held.New(), Crew: work, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := work.Hire("carrier", c.Run); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	full(t, []kv.Fill{c.Fill()}, "carrier.parcels")
	close(m.gate)
	synctest.Wait()
	if m.mu.Lock(); len(m.left) != 0 {
		t.Errorf("%d parcels are left", len(m.left))
	}
	m.mu.Unlock()
	cancel()
	if err := work.Dismiss(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
}

// hangs is a market whose copies are not at hand until its gate is opened.
type hangs struct {
	gate chan struct{}
	mu   sync.Mutex
	left map[protocol.Hash]bool
}

func (h *hangs) Parcels(_ context.Context, fn func(records.Parcel) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.left {
		if !fn(records.Parcel{ID: id}) {
			break
		}
	}
	return nil
}

func (h *hangs) Copy(context.Context, records.Parcel) (records.Copy, vault.Large, error) {
	<-h.gate
	return records.Copy{}, vault.Large{}, fault.NotFound
}

func (*hangs) Measured(context.Context, records.Parcel, protocol.Hash) error { return nil }

func (*hangs) Fetching(context.Context, records.Parcel) (held.Blob, key.MailboxKey, error) {
	return held.Blob{}, key.MailboxKey{}, fault.Expired
}

func (h *hangs) Carried(_ context.Context, p records.Parcel, _ records.CopyState, _ []protocol.Keeper, _ error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.left, p.ID)
	return nil
}
