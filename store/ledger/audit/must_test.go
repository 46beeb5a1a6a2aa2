package audit_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/ledger/audit"
)

// A planting is a violation, in files, and what an audit has to say of it.
type planting struct {
	files   [][]byte
	inOrder bool
	what    audit.What
	words   []string // in one problem
}

// TestMust_audit_catches: what is planted is found, with the reason; what is sound is
// not accused.
func TestMust_audit_catches(t *testing.T) {
	shopA, shopB := newShop("Baobab Stores"), newShop("Veld & Vine")
	her := newPerson(t)
	her.note("vault.set", map[string]string{"field": "location.area"})
	first := her.whole(shopA)
	older := her.bundle()
	young := her.copied()
	second := her.whole(shopB)
	good := her.bundle()

	// The check can fail: without the one comparison that a violation is found by, the
	// same files pass. A rewritten ledger alone, without what was countersigned, is sound.
	blind := her.copied()
	blind.rewrite(func(e ledger.Entry) ([]byte, bool) { return append(bytes.Clone(e.Body), ' '), true })
	nothing := func(c *[]audit.Case, o *[]audit.Opening) { *c, *o = nil, nil }
	if v := judge(blind.bundleAs(audit.BodiesNone, func(ledger.Entry) bool { return false }, nothing)); !v.OK {
		t.Fatalf("without countersigned heads nobody can tell a rewritten ledger: %v", v.Problems)
	}
	for name, files := range map[string][][]byte{
		"a bundle": {good}, "an older one and a newer one": {older, good}, "evidence": {first.evidence(protocol.Vendor)},
		"a bundle and both vendors' evidence": {good, first.evidence(protocol.Vendor), second.evidence(protocol.Vendor)},
		"proofs and a bundle":                 {her.proof(3, 2), good, her.proof(5, 0)},
	} {
		if v := judge(files...); !v.OK || len(v.Proven) == 0 || len(v.Unproven) == 0 {
			t.Errorf("%s, sound: %+v", name, v)
		}
	}

	caught, planted := 0, plantings(her, young, older, good, first, second, shopB)
	for name, p := range planted {
		v := judgeAt(testNow+20*protocol.Day, p.inOrder, p.files...)
		if !found(v, p.what, p.words...) {
			t.Errorf("%s: want %s with %q, got %+v", name, p.what, p.words, v.Problems)
			continue
		}
		caught++
	}
	small := newPerson(t)
	small.note("vault.set", map[string]string{"field": "a"})
	small.blind()
	flips := flipped(t, small.bundle(), 0x01, 0x20, 0x80)
	flips += flipped(t, her.proof(4, 2), 0x01, 0x20, 0x80)
	half := small.begin(shopA)
	small.receive(half)
	flips += flipped(t, half.evidence(protocol.Customer)) // letters of many kilobytes: one change a byte
	const random = 1000
	flippedAtRandom(t, good, random)
	t.Logf("%d of %d planted violations found with their reason; every byte of three small files changed: %d changes, all found; %d random bits of a bundle of %d bytes, all found",
		caught, len(planted), flips, random, len(good))
}

func plantings(her, young *person, older, good []byte, first, second *deal, shopB *shop) map[string]planting {
	lie := func(e ledger.Entry) ([]byte, bool) {
		if e.Seq == 3 {
			return []byte(`{"said":"nothing was granted"}`), true
		}
		return e.Body, true
	}
	rewritten, dropped, back, other := her.copied(), her.copied(), young.copied(), young.copied()
	rewritten.rewrite(lie)
	dropped.rewrite(func(e ledger.Entry) ([]byte, bool) { return e.Body, e.Kind != "receipt.kept" })
	back.nowMS = her.nowMS + 5000
	for range 20 {
		other.note("note", map[string]string{"other": "story"})
	}
	only := func(d *deal, drop ...protocol.Kind) func(*[]audit.Case, *[]audit.Opening) {
		return func(c *[]audit.Case, _ *[]audit.Opening) {
			for i := range *c {
				if (*c)[i].ID == d.ID {
					(*c)[i].Letters = without((*c)[i].Letters, drop...)
				}
			}
		}
	}
	swap := func(k protocol.Kind, raw []byte) func(*[]audit.Case, *[]audit.Opening) {
		return func(c *[]audit.Case, _ *[]audit.Opening) {
			(*c)[0].Letters = append(without((*c)[0].Letters, k), raw)
		}
	}
	noOpenings := func(_ *[]audit.Case, o *[]audit.Opening) { *o = (*o)[:1] }
	none := func(c *[]audit.Case, o *[]audit.Opening) { *c, *o = nil, nil }
	early := *first
	early.Letters, early.Lapses = without(first.Letters, protocol.KindDeletion), []audit.Lapse{{Owed: "deletion", Re: first.revoked, Due: first.revocation.Deadline}}
	kept := *first
	kept.Lapses = early.Lapses
	later := early
	later.Lapses = []audit.Lapse{{Owed: "deletion", Re: first.revoked, Due: first.revocation.Deadline + 1}}
	unasked := early
	unasked.Letters = without(early.Letters, protocol.KindRevocation)
	return map[string]planting{
		"a fork: two stories from one point":      {files: [][]byte{good, other.bundle()}, what: audit.Fork, words: []string{"another history", "the first entry that differs is 7"}},
		"a fork, by a proof of the other story":   {files: [][]byte{good, other.proof(9, 8)}, what: audit.Fork, words: []string{"another history"}},
		"a fork, by two proofs alone":             {files: [][]byte{forkProof(her), forkProof(rewritten)}, what: audit.Fork, words: []string{"another history"}},
		"a rollback: shorter, and signed later":   {files: [][]byte{good, back.bundle()}, what: audit.Rollback, words: []string{"went back"}},
		"a rollback: an older export handed over": {files: [][]byte{good, older}, inOrder: true, what: audit.Rollback, words: []string{"only 6 later"}},
		"a rollback, against a countersigned head": {files: [][]byte{back.bundle(func(_ *[]audit.Case, o *[]audit.Opening) { *o = her.openings })},
			what: audit.Rewritten, words: []string{"or the ledger went back"}},
		"a consistent rewrite":                          {files: [][]byte{rewritten.bundle()}, what: audit.Rewritten, words: []string{"Baobab Stores", "countersigned", first.ID.Short()}},
		"a consistent rewrite without an entry":         {files: [][]byte{dropped.bundle()}, what: audit.Missing, words: []string{"the entry was taken out"}},
		"a rewrite that shows no heads":                 {files: [][]byte{rewritten.bundle(noOpenings)}, what: audit.LostHead, words: []string{"Veld & Vine"}},
		"a rewrite that shows nothing, and the vendor":  {files: [][]byte{rewritten.bundle(none), first.evidence(protocol.Vendor)}, what: audit.LostHead, words: []string{"Baobab Stores", "by b"}},
		"a head that the ledger no longer holds":        {files: [][]byte{older, second.evidence(protocol.Vendor)}, what: audit.LostHead, words: []string{"Veld & Vine"}},
		"a receipt of another grant":                    {files: [][]byte{her.bundle(swap(protocol.KindReceipt, second.taken))}, what: audit.OtherGrant, words: []string{"the receipt countersigns grant " + second.ID.Short()}},
		"a receipt of another grant, alone":             {files: [][]byte{withReceipt(first, second.taken).evidence(protocol.Vendor)}, what: audit.OtherGrant, words: []string{"the receipt countersigns grant " + second.ID.Short()}},
		"a receipt that countersigns another head":      {files: [][]byte{withReceipt(first, first.receiptOf(func(r *protocol.Receipt) { r.Ledger[0] ^= 1 })).evidence(protocol.Vendor)}, what: audit.LostHead},
		"a receipt that somebody else signed":           {files: [][]byte{withReceipt(first, forgedReceipt(first, shopB)).evidence(protocol.Customer)}, what: audit.WrongKey, words: []string{"do not list"}},
		"a receipt under another passport":              {files: [][]byte{underShop(first, shopB).evidence(protocol.Customer)}, what: audit.OtherGrant},
		"a receipt that is not there":                   {files: [][]byte{her.bundle(only(first, protocol.KindReceipt))}, what: audit.Missing, words: []string{"entry 4", "receipt.kept"}},
		"a deletion of another grant":                   {files: [][]byte{her.bundle(swap(protocol.KindDeletion, second.deletionOf(nil)))}, what: audit.OtherGrant, words: []string{"deletion"}},
		"a deletion over a head that nobody showed":     {files: [][]byte{her.bundle(swap(protocol.KindDeletion, first.deletionOf(func(d *protocol.Deletion) { d.Ledger[3] ^= 1 })))}, what: audit.LostHead},
		"a lapse that was answered":                     {files: [][]byte{kept.evidence(protocol.Customer)}, what: audit.Answered},
		"a lapse with another deadline":                 {files: [][]byte{later.evidence(protocol.Customer)}, what: audit.Altered},
		"a lapse of what nobody asked for":              {files: [][]byte{unasked.evidence(protocol.Customer)}, what: audit.Missing},
		"a disclosure that is to prove something":       {files: [][]byte{withLetter(first, disclosure(first, key.NewSecret(), "x")).evidence(protocol.Vendor)}, what: audit.Altered, words: []string{"either side could have written it"}},
		"a line taken out of a bundle":                  {files: [][]byte{dropLine(good, 1)}, what: audit.Altered},
		"an opening taken out of a bundle":              {files: [][]byte{dropLine(good, bytes.Count(good[:bytes.Index(good, []byte(`{"opening"`))], []byte("\n")))}, what: audit.Altered, words: []string{"after the device had sealed"}},
		"a bundle that another device has sealed again": {files: [][]byte{resealed(good, newPerson(her).bundle())}, what: audit.Altered},
	}
}

func without(letters [][]byte, kinds ...protocol.Kind) (out [][]byte) {
	for _, raw := range letters {
		drop := false
		for _, k := range kinds {
			drop = drop || must(wire.Open(raw)).Kind() == k
		}
		if !drop {
			out = append(out, raw)
		}
	}
	return out
}

func withReceipt(d *deal, raw []byte) *deal {
	c := *d
	c.Letters = append(without(d.Letters, protocol.KindReceipt, protocol.KindRevocation, protocol.KindDeletion), raw)
	return &c
}

func withLetter(d *deal, raw []byte) *deal {
	c := *d
	c.Letters = append(slices.Clone(d.Letters), raw)
	return &c
}

// forgedReceipt is one that another vendor signed.
func forgedReceipt(d *deal, by *shop) []byte {
	c := *d
	c.with = by
	return c.receiptOf(nil)
}

func underShop(d *deal, s *shop) *deal {
	c := *d
	c.Vendor = s.id
	return &c
}

func forkProof(p *person) []byte { return p.proof(5, 3) }

func dropLine(raw []byte, n int) []byte {
	lines := bytes.SplitAfter(raw, []byte("\n"))
	return bytes.Join(append(lines[:n:n], lines[n+1:]...), nil)
}

func resealed(raw, by []byte) []byte {
	cut := func(b []byte) int { return bytes.LastIndex(b, []byte(`{"seal"`)) }
	return append(bytes.Clone(raw[:cut(raw)]), by[cut(by):]...)
}

// flipped changes every byte in several ways; in one that differs from byte to byte
// where none is named.
func flipped(t *testing.T, good []byte, changes ...byte) (n int) {
	t.Helper()
	if v := judge(good); !v.OK {
		t.Fatalf("not sound to begin with: %v", v.Problems)
	}
	for i := range good {
		list := changes
		if len(list) == 0 {
			list = []byte{1 << (i % 8)}
		}
		for _, change := range list {
			bad := bytes.Clone(good)
			bad[i] ^= change
			if v := judge(bad); v.OK || v.Problems[0].Why == "" {
				t.Fatalf("byte %d: %q became %q unnoticed, near %q", i, good[i], bad[i], good[max(0, i-30):min(len(good), i+30)])
			}
			n++
		}
	}
	return n
}

func flippedAtRandom(t *testing.T, good []byte, n int) {
	t.Helper()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		bad := bytes.Clone(good)
		i, bit := r.IntN(len(bad)), r.IntN(8)
		bad[i] ^= 1 << bit
		if v := judge(bad); v.OK {
			t.Fatalf("seed %d: bit %d of byte %d unnoticed", seed, bit, i)
		}
	}
}

// disclosure is one that whoever holds the secret can write.
func disclosure(d *deal, mac key.Secret, area string) []byte {
	return must(wire.SealDisclosure(&protocol.Disclosure{
		Header: func() protocol.Header {
			h := header(protocol.KindDisclosure, protocol.Hash(d.its.Public()), protocol.Hash(d.Context), wire.ID(d.given))
			h.From = protocol.Hash(d.her.Public())
			return h
		}(),
		Grant: d.ID, Values: []protocol.FieldValue{{Name: "location.area", Value: area, Version: 1}}, Lease: 1, Until: testNow + protocol.Day,
		OfferSecret: protocol.Share(key.NewSecret()),
	}, mac))
}

// TestASimulatedDisclosureVerifiesLikeARealOne: the vendor holds the same secret as the
// customer, from the letter of the Grant. What it makes up verifies as what she said
// does, so that a disclosure convinces nobody but the two.
func TestASimulatedDisclosureVerifiesLikeARealOne(t *testing.T) {
	d := newPerson(t).begin(newShop("S"))
	lock := key.GenerateSeal[key.RequestSeal]()
	raw, hers, err := wire.SealLetter(lock.Public(), seal.Vendor, testNet, key.Generate[key.Mailbox]().Public(), testNow+protocol.Day, d.given)
	check(err)
	_, its, err := wire.OpenLetter(lock, seal.Vendor, testNet, raw)
	check(err)
	customers, vendors := hers(seal.LabelDisclose), its(seal.LabelDisclose)
	said := disclosure(d, customers, "Observatory")
	made := disclosure(d, vendors, "Constantia") // she never said so
	for name, plain := range map[string][]byte{"hers": said, "the vendor's": made} {
		for who, mac := range map[string]key.Secret{"customer": customers, "vendor": vendors} {
			got, _, err := wire.OpenDisclosure(plain, mac)
			if err != nil || got.From != protocol.Hash(d.her.Public()) || got.Grant != d.ID {
				t.Errorf("%s, as the %s reads it: %v", name, who, err)
			}
		}
		if _, _, err := wire.OpenDisclosure(plain, key.NewSecret()); err == nil {
			t.Errorf("%s convinces a third person", name)
		}
		v := judge(withLetter(d, plain).evidence(protocol.Vendor))
		if !found(v, audit.Altered, "either side could have written it", "shows nothing") {
			t.Errorf("%s: %v", name, v.Problems)
		}
	}
}
