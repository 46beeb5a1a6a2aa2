package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/fingerprint"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
)

var update = flag.Bool("update", false, "write the test vectors anew")

const vectorDir = "../testdata/vectors"

// A vector is one case. Its file is described in README.txt beside it.
type vector struct {
	name  string
	heads [][2]string
	raw   []byte
	drawn bool // holds randomness: another run writes other bytes
}

func (v *vector) get(name string) string {
	for _, h := range v.heads {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}

func (v *vector) all(name string) (values []string) {
	for _, h := range v.heads {
		if h[0] == name {
			values = append(values, h[1])
		}
	}
	return values
}

func (v *vector) hex(name string) []byte { return must(hex.DecodeString(v.get(name))) }

func (v *vector) hash(name string) (h protocol.Hash) {
	copy(h[:], v.hex(name))
	return h
}

func (v *vector) number(name string) uint64 {
	if v.get(name) == "" {
		return 0
	}
	return must(strconv.ParseUint(v.get(name), 10, 64))
}

func (v *vector) secret(name string) key.Secret { return must(key.SecretFrom(v.hex(name))) }

// same compares what came out with what the file says, where it says something.
func (v *vector) same(name string, got []byte) error {
	if want := v.get(name); want != "" && want != hex.EncodeToString(got) {
		return fmt.Errorf("%s is %x: %w", name, got, errVector)
	}
	return nil
}

var errVector = errors.New("another value came out")

func (v *vector) format() []byte {
	var b strings.Builder
	for _, h := range v.heads {
		fmt.Fprintf(&b, "%s: %s\n", h[0], h[1])
	}
	b.WriteByte('\n')
	for line := range slices.Chunk(v.raw, 32) {
		fmt.Fprintf(&b, "%x\n", line)
	}
	return []byte(b.String())
}

func parseVector(name string, text []byte) (*vector, error) {
	v := &vector{name: name}
	top, body, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		top = strings.TrimSuffix(string(text), "\n")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(top, "\n"), "\n") {
		k, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("line %q", line)
		}
		v.heads = append(v.heads, [2]string{k, value})
	}
	var err error
	v.raw, err = hex.DecodeString(strings.ReplaceAll(body, "\n", ""))
	return v, err
}

// outcomes is the closed list of what a case can expect.
var outcomes = map[string]error{"ok": nil, "malformed": fault.Malformed, "unsupported": fault.Unsupported, "denied": fault.Denied, "expired": fault.Expired}

// runs tells for each "what" how its bytes are read.
var runs = map[string]func(*vector) error{
	"envelope": func(v *vector) error {
		s, err := Open(v.raw)
		if err != nil {
			return err
		}
		if v.get("now") != "" {
			err = s.Meets(Expect{Net: v.hash("net"), Kinds: []protocol.Kind{kinds["hark/1/"+v.get("kind")]}, From: v.hash("from"), To: v.hash("to"), Context: v.hash("context"), Now: protocol.Second(v.number("now"))})
			if err != nil {
				return err
			}
		}
		id := s.ID()
		return errors.Join(v.same("id", id[:]), v.same("extra", s.Extra()))
	},
	"announcement": func(v *vector) error {
		d, err := ReadAnnouncement(v.raw)
		if err != nil {
			return err
		}
		h, err := d.Verify()
		if err != nil {
			return err
		}
		if d.WorkDone() < int(v.number("work")) {
			return fmt.Errorf("work: %w", errVector)
		}
		id := h.ID()
		return errors.Join(v.same("id", id[:]), v.same("extra", h.Extra()))
	},
	"body": func(v *vector) error {
		h, err := OpenAnnouncement(v.raw)
		if err != nil {
			return err
		}
		d, err := OpenBody(h.A(), v.secret("body-key"))
		if err != nil {
			return err
		}
		return v.same("plain", must(Marshal(d)))
	},
	"letter": runLetter,
	"disclosure": func(v *vector) error {
		d, id, err := OpenDisclosure(v.raw, v.secret("mac-key"))
		if err != nil {
			return err
		}
		return errors.Join(v.same("id", id[:]), v.same("body-key", d.BodyKey.Secret().Reveal()), v.same("offer-secret", d.OfferSecret.Secret().Reveal()))
	},
	"genesis": func(v *vector) error {
		if _, err := OpenGenesis(v.raw); err != nil {
			return err
		}
		id := ID(v.raw)
		return v.same("id", id[:])
	},
	"capability": func(v *vector) error {
		var c protocol.Capability
		if err := Unmarshal(v.raw, &c, protocol.MaxFrame); err != nil {
			return err
		}
		return CheckCapability(c, protocol.Second(v.number("now")))
	},
	"operation": func(v *vector) error {
		var o protocol.Op
		if err := Unmarshal(v.raw, &o, protocol.MaxFrame); err != nil {
			return err
		}
		return CheckOp(&o, key.KeeperKey(v.hash("keeper")), protocol.ID(v.hex("nonce")))
	},
	"fingerprint": func(v *vector) error {
		var sum fingerprint.Sum
		for x := range slices.Chunk(v.raw, 32) {
			sum.Add(fingerprint.SumOf(protocol.ID(v.hex("salt")), protocol.Hash(x)))
		}
		p := sum.Print(uint32(len(v.raw) / 32))
		return v.same("print", p[:])
	},
	"hello": func(v *vector) error {
		_, aside, err := decodeHello(v.raw)
		if err == nil {
			err = v.same("operator", aside.Operator[:])
		}
		if clock := v.get("clock"); err == nil && clock != "" && clock != fmt.Sprint(aside.Clock) {
			err = fmt.Errorf("clock %d: %w", aside.Clock, errVector)
		}
		return err
	},
	"told": func(v *vector) error {
		s, err := Open(v.raw)
		if err != nil {
			return err
		}
		var letters []byte
		for _, r := range ReceiptsOf(s.Extra()) {
			letters = append(letters, r.Letter[:]...)
		}
		if v.get("letters") != hex.EncodeToString(letters) {
			return fmt.Errorf("letters %x: %w", letters, errVector)
		}
		return nil
	},
	"limits": func(v *vector) error {
		s, err := Open(v.raw)
		if err != nil {
			return err
		}
		if l := limits.Of(s.Extra()); v.get("per-day") != fmt.Sprint(l.PerDay) {
			return fmt.Errorf("limits %+v: %w", l, errVector)
		}
		return nil
	},
	"particulars": func(v *vector) error {
		s, err := Open(v.raw)
		if err != nil {
			return err
		}
		m := particulars.Of(s.Extra())
		said := fmt.Sprintf("%v %s %s", m.Explicit, m.Protection, m.Automated)
		if v.get("said") != strings.TrimSpace(said) {
			return fmt.Errorf("said %q: %w", said, errVector)
		}
		return nil
	},
	"deposit-receipt": func(v *vector) error {
		var r protocol.DepositReceipt
		if err := Unmarshal(v.raw, &r, protocol.MaxFrame); err != nil {
			return err
		}
		return CheckReceipt(r)
	},
	"post-key": func(v *vector) error {
		var p protocol.PostKey
		if err := Unmarshal(v.raw, &p, protocol.MaxFrame); err != nil {
			return err
		}
		return CheckPostKey(p, protocol.Second(v.number("now")))
	},
	"post": func(v *vector) error {
		p, err := OpenPost(key.SealFromSeed[key.PostSeal](v.secret("seed")), v.hash("net"), key.KeeperKey(v.hash("keeper")), v.raw)
		if err != nil {
			return err
		}
		return v.same("plain", must(Marshal(p)))
	},
	"first-contact": func(v *vector) error {
		var f protocol.FirstContact
		if err := Unmarshal(v.raw, &f, protocol.MaxFrame); err != nil {
			return err
		}
		box, letter, keeper := key.MailboxKey(v.hash("box")), v.hash("letter"), key.KeeperKey(v.hash("keeper"))
		if err := CheckFirst(&f, box, letter, keeper, protocol.Second(v.number("now"))); err != nil {
			return err
		}
		if FirstWork(&f, box, letter, keeper) != int(v.number("work")) {
			return fmt.Errorf("work: %w", errVector)
		}
		return nil
	},
	"vouch": func(v *vector) error {
		var w protocol.Vouch
		if err := Unmarshal(v.raw, &w, protocol.MaxFrame); err != nil {
			return err
		}
		return CheckVouch(w, protocol.Second(v.number("now")))
	},
	"chain": func(v *vector) error {
		var raws [][]byte
		for _, h := range v.all("passport") {
			raws = append(raws, must(hex.DecodeString(h)))
		}
		c, err := OpenChain(raws, v.hash("net"))
		if err != nil {
			return err
		}
		vendor := c.Vendor()
		return v.same("vendor", vendor[:])
	},
	"shard": func(v *vector) error {
		if got := Shard(protocol.Category(v.get("category")), protocol.Region(v.get("region")), uint16(v.number("shards"))); uint64(got) != v.number("shard") {
			return fmt.Errorf("shard %d: %w", got, errVector)
		}
		return nil
	},
	"grant-id": func(v *vector) error {
		id := GrantID(protocol.ContextID(v.hash("context")), v.hash("vendor"), v.hash("request"))
		return v.same("grant", id[:])
	},
	"next-root": func(v *vector) error {
		c := NextRoot(key.RootKey(v.hash("key")))
		return v.same("commitment", c[:])
	},
}

// runLetter opens a letter of any class with a seed, and an offer's second lock.
func runLetter(v *vector) error {
	plain, export, err := openByClass(v.get("class"), v.secret("seed"), v.hash("net"), v.raw)
	if err != nil {
		return err
	}
	if err := v.same("export", export(seal.LabelDisclose).Reveal()); err != nil {
		return err
	}
	if v.get("offer-secret") != "" {
		if plain, err = OpenOffer(v.secret("offer-secret"), v.hash("grant"), plain); err != nil {
			return err
		}
	}
	return v.same("plain", plain)
}

func openByClass(class string, seed key.Secret, net protocol.Hash, raw []byte) ([]byte, func(seal.Label) key.Secret, error) {
	switch class {
	case "first":
		return OpenLetter(key.SealFromSeed[key.ContextSeal](seed), seal.First, net, raw)
	case "offer":
		return OpenLetter(key.SealFromSeed[key.OfferSeal](seed), seal.Offer, net, raw)
	case "duty":
		return OpenLetter(key.SealFromSeed[key.DutySeal](seed), seal.Duty, net, raw)
	}
	return OpenLetter(key.SealFromSeed[key.RequestSeal](seed), seal.Vendor, net, raw)
}

func (v *vector) run() error {
	want, listed := outcomes[v.get("expect")]
	run := runs[v.get("what")]
	if !listed || run == nil || v.get("comment") == "" {
		return fmt.Errorf("expect, what or comment is missing or unknown")
	}
	if err := run(v); !errors.Is(err, want) || (want == nil && err != nil) {
		return fmt.Errorf("outcome: %v", err)
	}
	return nil
}

// TestVectors reads every file, and holds what this program writes today against it.
func TestVectors(t *testing.T) {
	cases := vectors()
	if *update {
		for _, v := range cases {
			if err := os.WriteFile(filepath.Join(vectorDir, v.name+".txt"), v.format(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]*vector{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".txt")
		if !ok || name == "README" {
			continue
		}
		text := must(os.ReadFile(filepath.Join(vectorDir, e.Name())))
		v, err := parseVector(name, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		seen[name] = v
		if err := v.run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again := v.format(); !bytes.Equal(again, text) {
			t.Errorf("%s: is not written in its form", name)
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d vectors, want at least 60", len(seen))
	}
	for _, v := range cases {
		was := seen[v.name]
		if was == nil {
			t.Errorf("%s is missing", v.name)
		} else if !v.drawn && !bytes.Equal(was.format(), v.format()) || was.get("plain") != v.get("plain") {
			t.Errorf("%s: this program writes something else", v.name)
		}
		delete(seen, v.name)
	}
	for name := range seen {
		t.Errorf("%s: nobody knows how it was made", name)
	}
}

// A wrong outcome or value in a vector is noticed.
func TestVectorsBite(t *testing.T) {
	for _, v := range vectors() {
		for i, h := range v.heads {
			var wrong string
			switch h[0] {
			case "expect":
				wrong = map[bool]string{true: "denied", false: "ok"}[h[1] == "ok"]
			case "id", "plain", "export", "vendor", "grant", "commitment", "extra":
				wrong = strings.Repeat("ab", len(h[1])/2)
			case "shard":
				wrong = h[1] + "1"
			case "said":
				wrong = h[1] + " more"
			default:
				continue
			}
			if v.get("expect") != "ok" && h[0] != "expect" {
				continue
			}
			bent := vector{name: v.name, heads: slices.Clone(v.heads), raw: v.raw}
			bent.heads[i][1] = wrong
			if bent.run() == nil {
				t.Errorf("%s: %s may say anything", v.name, h[0])
			}
		}
	}
}
