package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	"github.com/harkmarket/hark/store/ledger/audit"
)

// says tells whether one of the sentences has these words.
func says(list []string, words string) bool {
	for _, s := range list {
		if strings.Contains(s, words) {
			return true
		}
	}
	return false
}

func TestWhatAVerdictSays(t *testing.T) {
	her, shop := newPerson(t), newShop("Baobab Stores")
	d := her.whole(shop)
	v := judge(her.bundle())
	f := v.Files[0]
	if !v.OK || f.Form != audit.BundleSchema || f.Entries != 5 || f.Grants != 1 || f.Letters != 5 || f.Receipts != 1 || f.Deleted != 1 || f.Heads != 2 || f.Device != her.led.Device().String() {
		t.Errorf("%+v", v)
	}
	for _, words := range []string{"exactly these 5 entries", "has countersigned grant " + d.ID.Short(), "it had location.area until", "signed on 2027-01-15 08:00 UTC that it deleted", "countersigned 2 heads"} {
		if !says(v.Proven, words) {
			t.Errorf("not said to be proven: %q in %q", words, v.Proven)
		}
	}
	for _, words := range []string{"its owner's own word", "holds the device's key", "really deleted", "What was disclosed"} {
		if !says(v.Unproven, words) {
			t.Errorf("not said to be unproven: %q in %q", words, v.Unproven)
		}
	}
	named := audit.New(time.Unix(int64(testNow), 0), false)
	check(named.Add("\x1b[31mred", strings.NewReader("x")))
	if raw := must(json.Marshal(named.Verdict())); bytes.Contains(raw, []byte(`\u001b`)) || !bytes.Contains(raw, []byte(`"schema":"hark.verdict/1"`)) {
		t.Errorf("words of a stranger come through: %s", raw)
	}
}

// What a grant costs is proven by the voucher in its receipt; whether it was paid is not.
func TestAVoucherIsProven(t *testing.T) {
	her := newPerson(t)
	her.price = protocol.Money{Minor: 500, Currency: "ZAR"}
	d := her.whole(newShop("Baobab Stores"))
	v := judge(d.evidence(protocol.Customer))
	if !v.OK || !says(v.Proven, "owes ZAR 5.00 for grant "+d.ID.Short()) || !says(v.Unproven, "has paid what it owes") {
		t.Errorf("%+v", v)
	}
	for name, change := range map[string]func(*protocol.Receipt){
		"nothing": func(r *protocol.Receipt) { r.Payment = protocol.Payment{Rail: protocol.RailNone} },
		"less":    func(r *protocol.Receipt) { r.Payment.Amount.Minor-- },
		"with another's voucher": func(r *protocol.Receipt) {
			other := her.begin(d.with)
			r.Payment.Proof = must(wire.As[*protocol.Receipt](must(wire.Open(other.receiptOf(nil))))).Payment.Proof
		},
	} {
		v := judge(withReceipt(d, d.receiptOf(change)).evidence(protocol.Customer))
		if v.OK || v.Problems[0].What != audit.Unpaid {
			t.Errorf("a receipt that pays %s: %+v", name, v.Problems)
		}
	}
}

// TestALapseCarriesItsProof: receipt, revocation and deadline; and what it can't show.
func TestALapseCarriesItsProof(t *testing.T) {
	her := newPerson(t)
	d := her.begin(newShop("Slow Stores"))
	her.receive(d)
	her.revoke(d)
	her.lapse(d)
	after := d.revocation.Deadline + protocol.Day
	v := judgeAt(after, false, d.evidence(protocol.Customer))
	if !v.OK || v.Files[0].Lapses != 1 || !says(v.Proven, "owed a signed deletion under grant "+d.ID.Short()+" by 2027-01-22") ||
		!says(v.Unproven, "never answered: nobody can prove that nothing came") || !says(v.Unproven, "has arrived: no acknowledgement") {
		t.Errorf("%+v", v)
	}
	if v := judgeAt(d.revocation.Deadline-1, false, d.evidence(protocol.Customer)); !found(v, audit.Early, "has not passed") {
		t.Errorf("before its deadline: %+v", v.Problems)
	}
	ack := &protocol.Ack{Header: header(protocol.KindAck, protocol.Hash(d.her.Public()), protocol.Hash(d.Context), protocol.Hash{}), Grant: d.ID, Acked: []protocol.Hash{d.revoked}}
	told := withLetter(d, signedBy(d, ack))
	if v := judgeAt(after, false, told.evidence(protocol.Customer)); !v.OK || !says(v.Proven, "has signed on 2027-01-15 08:00 UTC that it had that letter") || says(v.Unproven, "has arrived") {
		t.Errorf("acknowledged: %+v", v)
	}
	if v := judgeAt(after, false, her.bundle()); !v.OK || v.Files[0].Lapses != 1 {
		t.Errorf("in a bundle: %+v", v.Problems)
	}
}

// TestBodiesCanBeLeftOut: the commitments stay, the heads can still be checked, and what
// is shown later fits.
func TestBodiesCanBeLeftOut(t *testing.T) {
	her := newPerson(t)
	her.note("vault.set", map[string]string{"field": "contact.email"})
	d := her.whole(newShop("S"))
	check(her.store.Update(context.Background(), func(tx kv.Tx) error { return her.led.Shred(tx, 2) }))
	none := her.bundleAs(audit.BodiesNone, func(ledger.Entry) bool { return false })
	own := her.bundleAs(audit.BodiesOwn, func(e ledger.Entry) bool { return strings.HasPrefix(e.Kind, "vault.") })
	for name, raw := range map[string][]byte{"none": none, "own": own} {
		v := judge(raw, her.proof(4, 0), d.evidence(protocol.Vendor))
		if !v.OK || v.Files[0].Shredded != 1 || v.Files[0].Grants != 0 {
			t.Errorf("%s: %+v", name, v)
		}
		for _, secret := range []string{d.ID.String(), "cmVjZWlwdC5rZXB0", "receipt.kept"} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s shows %s", name, secret)
			}
		}
	}
	if v := judge(none); v.Files[0].Withheld != 5 || !says(v.Proven, "5 bodies left out") {
		t.Errorf("%+v", v.Files)
	}
	if v := judge(own); v.Files[0].Withheld != 4 || !bytes.Contains(own, []byte(`"kind":"vault.set"`)) {
		t.Errorf("%+v", v.Files)
	}
	rewritten := her.copied()
	rewritten.rewrite(func(e ledger.Entry) ([]byte, bool) { return append([]byte("x"), e.Body...), !e.Shredded })
	if v := judge(rewritten.bundleAs(audit.BodiesNone, func(ledger.Entry) bool { return false })); !found(v, audit.Rewritten) {
		t.Errorf("rewritten, and nothing shown: %+v", v.Problems)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	her := newPerson(t)
	her.whole(newShop("S"))
	good := string(her.bundle())
	long := strings.Repeat("A", ledger.MaxLine)
	for name, c := range map[string]struct{ text, why string }{
		"nothing":                {"", "no bundle"},
		"a picture":              {"\x89PNG\r\n", "no bundle"},
		"another schema":         {`{"schema":"hark.bundle/2"}` + "\n", "no bundle"},
		"a bundle of nothing":    {`{"schema":"hark.bundle/1","net":"` + testNet.String() + `","bodies":"all"}` + "\n", "ends before"},
		"bodies of another kind": {strings.Replace(good, `"bodies":"all"`, `"bodies":"some"`, 1), "bodies"},
		"an endless letter":      {strings.Replace(good, `{"letter":"`, `{"letter":"`+long, 1), "longer than"},
		"letters without end":    {strings.Replace(good, "\n", "\n"+strings.Repeat(`{"letter":"AAAA"}`+"\n", audit.MaxLetters+1), 1), "more than 256 letters"},
		"a grant of nobody":      {strings.Replace(good, `"side":"customer"`, `"side":"keeper"`, 1), "side"},
		"deep nesting":           {`{"schema":"hark.proof/1","entry":` + strings.Repeat("[", 20000) + "\n", "malformed"},
		"two seals":              {good + good[strings.LastIndex(good, `{"seal"`):], "something follows"},
		"no seal":                {good[:strings.LastIndex(good, `{"seal"`)], "ends before"},
		"an opening twice":       {twice(good, `{"opening"`), "twice"},
		"evidence with bodies":   {`{"schema":"hark.evidence/1","net":"` + testNet.String() + `","bodies":"all"}` + "\n", "no bodies"},
	} {
		v := judge([]byte(c.text))
		if !found(v, audit.Altered, c.why) || len(v.Files) != 1 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	broken := errors.New("broken disk")
	if err := audit.New(time.Unix(int64(testNow), 0), false).Add("x", io.MultiReader(strings.NewReader(good[:300]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	if _, err := audit.NewBundle(io.Discard, testNet, "some", nil); !errors.Is(err, fault.Malformed) {
		t.Errorf("bodies of another kind: %v", err)
	}
	if _, err := audit.NewBundle(failing{broken}, testNet, audit.BodiesAll, nil); !errors.Is(err, broken) {
		t.Errorf("a writer that fails: %v", err)
	}
	if err := audit.WriteEvidence(io.Discard, testNet, audit.Case{Letters: make([][]byte, audit.MaxLetters+1)}); !errors.Is(err, fault.Full) {
		t.Errorf("too many letters: %v", err)
	}
}

func twice(text, start string) string {
	at := strings.Index(text, start)
	end := at + strings.Index(text[at:], "\n") + 1
	return text[:end] + text[at:]
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestProblemsAreBounded: a file with more that is wrong than anybody reads.
func TestProblemsAreBounded(t *testing.T) {
	her := newPerson(t)
	for range audit.MaxProblems + 20 {
		her.note("receipt.kept", map[string]string{"envelope": strings.Repeat("ab", 32)})
	}
	if v := judge(her.bundle()); v.OK || len(v.Problems) != audit.MaxProblems || v.More != 20 {
		t.Errorf("%d problems and %d more", len(v.Problems), v.More)
	}
}

// TestAPlainLedgerIsJudgedToo: exports of the older form, which somebody may have kept.
func TestAPlainLedgerIsJudgedToo(t *testing.T) {
	her := newPerson(t)
	d := her.whole(newShop("S"))
	plain := func(p *person) []byte {
		var out bytes.Buffer
		check(p.store.View(context.Background(), func(r kv.Reader) error { _, err := p.led.Export(r, &out, p.nowMS, nil); return err }))
		return out.Bytes()
	}
	old := plain(her)
	if v := judge(old, her.bundle(), d.evidence(protocol.Vendor)); !v.OK || !says(v.Unproven, "a: that the ledger was not rewritten before it was signed") {
		t.Errorf("%+v", v)
	}
	her.rewrite(func(e ledger.Entry) ([]byte, bool) { return e.Body, true })
	if v := judge(old, plain(her)); !found(v, audit.Fork) {
		t.Errorf("%+v", v.Problems)
	}
}

var update = flag.Bool("update", false, "make the frozen files anew, which breaks the promise that they are")

// frozenDevice is the device of the frozen files.
func frozenDevice() key.Private[key.Device] {
	return key.FromSeed[key.Device](must(key.SecretFrom(bytes.Repeat([]byte{9}, 32))))
}

// frozen are files made once. They hold the forms still: what a regulator keeps must
// be judged alike by every later program.
func frozen(t testing.TB) map[string][]byte {
	t.Helper()
	if *update {
		her := newPerson(t)
		her.store = kv.Memory()
		her.led = must(ledger.Open(context.Background(), her.store, frozenDevice()))
		her.note("vault.set", map[string]string{"field": "contact.email"})
		d := her.begin(newShop("Baobab Stores"))
		her.receive(d)
		check(her.store.Update(context.Background(), func(tx kv.Tx) error { return her.led.Shred(tx, 1) }))
		for name, raw := range map[string][]byte{
			"bundle": her.bundle(), "none": her.bundleAs(audit.BodiesNone, func(ledger.Entry) bool { return false }),
			"evidence": d.evidence(protocol.Vendor), "proof": her.proof(3, 2),
		} {
			check(os.WriteFile(filepath.Join("testdata", name+".ndjson"), raw, 0o600))
		}
	}
	files := must(filepath.Glob("testdata/*.ndjson"))
	if len(files) != 4 {
		t.Fatalf("testdata holds %d files, want 4", len(files))
	}
	out := map[string][]byte{}
	for _, f := range files {
		out[strings.TrimSuffix(filepath.Base(f), ".ndjson")] = must(os.ReadFile(f))
	}
	return out
}

func TestFrozenFilesAreJudgedAlike(t *testing.T) {
	f := frozen(t)
	v := judge(f["bundle"], f["none"], f["evidence"], f["proof"])
	if !v.OK || v.Files[0].Entries != 4 || v.Files[0].Shredded != 1 || v.Files[0].Heads != 1 || v.Files[1].Withheld != 3 || v.Files[2].Receipts != 1 ||
		v.Files[3].Device != frozenDevice().Public().String() {
		t.Errorf("%+v", v)
	}
}

// FuzzAudit: whatever is read, nothing panics, and no bundle passes that its device has
// not sealed.
func FuzzAudit(f *testing.F) {
	signed := map[string]bool{}
	for _, raw := range frozen(f) {
		signed[string(raw)] = true
		f.Add(raw)
	}
	device, beside := frozenDevice().Public().String(), frozen(f)["proof"]
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := judge(raw, beside)
		if x := v.Files[0]; v.OK && x.Form == audit.BundleSchema && x.Device == device && !signed[string(raw)] {
			t.Errorf("accepted what the device has not sealed:\n%s", raw)
		}
	})
}
