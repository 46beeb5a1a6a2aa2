package node

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/harkmarket/hark/crypto/phrase"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// place names the folders of a home that nobody has made yet.
func place(t *testing.T) Paths {
	t.Helper()
	p, err := DefaultPaths(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// home makes one with a passphrase that is cheap to try.
func home(t *testing.T) Paths {
	t.Helper()
	p := place(t)
	if err := Init(InitOptions{Paths: p, Passphrase: []byte("correct horse"), Cheap: true}); err != nil {
		t.Fatal(err)
	}
	return p
}

func unlocked(t *testing.T, p Paths, passphrase string) ([]byte, error) {
	t.Helper()
	f, err := readKeys(p)
	if err != nil {
		return nil, err
	}
	s, err := f.open(p, []byte(passphrase))
	if err != nil {
		return nil, err
	}
	return s.Reveal(), nil
}

func TestThePassphraseOpensTheHome(t *testing.T) {
	p := home(t)
	first, err := unlocked(t, p, "correct horse")
	if err != nil || len(first) != 32 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := unlocked(t, p, "correct horse")
	if err != nil || !slices.Equal(again, first) {
		t.Errorf("the second time another key, %v", err)
	}
	for pass, want := range map[string]fault.Kind{"": fault.Locked, "wrong horse": fault.Denied, "correct horse ": fault.Denied} {
		if _, err := unlocked(t, p, pass); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", pass, err, want)
		}
	}
	if other, err := unlocked(t, home(t), "correct horse"); err != nil || slices.Equal(other, first) {
		t.Errorf("two homes have one key (%v)", err)
	}
}

func TestTheMasterKeyIsInNoFileAsItIs(t *testing.T) {
	p := home(t)
	master, err := unlocked(t, p, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(p.Config, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, word := range []string{string(master), "correct horse"} {
			if strings.Contains(string(raw), word) {
				t.Errorf("%s holds it", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// spoil changes keys.json as it is decoded.
func spoil(t *testing.T, p Paths, change func(map[string]any)) {
	t.Helper()
	raw, err := os.ReadFile(p.keys())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if raw, err = json.Marshal(m); err == nil {
		err = os.WriteFile(p.keys(), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSpoiledKeysAreRefused(t *testing.T) {
	costs := func(time, memory, threads int) func(map[string]any) {
		raw, err := json.Marshal(phrase.Params{Time: uint32(time), MemoryKiB: uint32(memory), Threads: uint8(threads)})
		if err != nil {
			t.Fatal(err)
		}
		return func(m map[string]any) { m["argon2id"] = json.RawMessage(raw) }
	}
	flip := func(key string) func(map[string]any) {
		return func(m map[string]any) {
			raw, err := base64.StdEncoding.DecodeString(m[key].(string))
			if err != nil {
				t.Fatal(err)
			}
			raw[2] ^= 1
			m[key] = base64.StdEncoding.EncodeToString(raw)
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   fault.Kind
	}{
		"another sealed key":   {flip("sealed"), fault.Denied},
		"another salt":         {flip("salt"), fault.Denied},
		"other costs":          {costs(2, 64, 1), fault.Denied},
		"costs beyond reason":  {costs(1, 1<<31-1, 1), fault.Malformed},
		"no costs":             {func(m map[string]any) { delete(m, "argon2id") }, fault.Malformed},
		"a short salt":         {func(m map[string]any) { m["salt"] = "AAAA" }, fault.Unsupported},
		"no sealed key":        {func(m map[string]any) { m["sealed"] = "" }, fault.Denied},
		"a newer schema":       {func(m map[string]any) { m["schema"] = "hark.keys/2" }, fault.Unsupported},
		"an unknown key":       {func(m map[string]any) { m["hint"] = "horse" }, fault.Malformed},
		"an unknown store":     {func(m map[string]any) { m["store"] = "cloud" }, fault.Unsupported},
		"a store without file": {func(m map[string]any) { m["store"] = KeyFile }, fault.Locked},
		"a number for a text":  {func(m map[string]any) { m["store"] = 7 }, fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := home(t)
			spoil(t, p, c.change)
			if _, err := unlocked(t, p, "correct horse"); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("no JSON", func(t *testing.T) {
		p := home(t)
		if err := os.WriteFile(p.keys(), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeys(p); !errors.Is(err, fault.Malformed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no file", func(t *testing.T) {
		if _, err := readKeys(place(t)); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAKeyFileOpensTheHome(t *testing.T) {
	p := place(t)
	if err := Init(InitOptions{Paths: p}); err != nil {
		t.Fatal(err)
	}
	f, err := readKeys(p)
	if err != nil || f.Store != KeyFile || f.needsPassphrase() {
		t.Fatalf("store %q, %v", f.Store, err)
	}
	if _, err := unlocked(t, p, ""); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(p.keyFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, %v", info.Mode(), err)
	}
	other := place(t)
	if err := Init(InitOptions{Paths: other}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"another home's": {read(t, other.keyFile()), fault.Denied},
		"not base64":     {"!!!", fault.Malformed},
	} {
		if err := os.WriteFile(p.keyFile(), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unlocked(t, p, ""); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := os.WriteFile(p.keyFile(), []byte("AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unlocked(t, p, ""); err == nil {
		t.Error("a key of three bytes is taken")
	}
	if err := os.Remove(p.keyFile()); err != nil {
		t.Fatal(err)
	}
	if _, err := unlocked(t, p, ""); !errors.Is(err, fault.Locked) {
		t.Errorf("without its file: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAKeyringOpensTheHome(t *testing.T) {
	keyring.MockInit()
	p, other := place(t), place(t)
	for _, p := range []Paths{p, other} {
		if err := Init(InitOptions{Paths: p, KeyStore: KeyKeyring}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := unlocked(t, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := unlocked(t, other, ""); err != nil || slices.Equal(a, b) {
		t.Errorf("the keyring keeps one key for two homes (%v)", err)
	}
	if err := keyring.Delete(keyringName, p.keys()); err != nil {
		t.Fatal(err)
	}
	if _, err := unlocked(t, p, ""); !errors.Is(err, fault.Locked) {
		t.Errorf("without its entry: %v", err)
	}
	keyring.MockInitWithError(errors.New("no session bus"))
	if _, err := unlocked(t, other, ""); !errors.Is(err, fault.Locked) {
		t.Errorf("without a keyring: %v", err)
	}
	if err := Init(InitOptions{Paths: place(t), KeyStore: KeyKeyring}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("init without a keyring: %v", err)
	}
}

// TestRekey: what opens a home moves from one store to another; what it opens stays, and
// the old key opens nothing.
func TestRekey(t *testing.T) {
	keyring.MockInit()
	p := place(t)
	if err := Init(InitOptions{Paths: p, KeyStore: KeyFile}); err != nil {
		t.Fatal(err)
	}
	master, err := unlocked(t, p, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ old, store, fresh string }{
		{"", KeyPassphrase, "one"}, {"one", KeyPassphrase, "two"}, {"two", KeyKeyring, ""}, {"", KeyPassphrase, "three"}, {"three", KeyFile, ""}, {"", KeyKeyring, ""},
	} {
		if err := Rekey(p, []byte(step.old), step.store, []byte(step.fresh)); err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
		got, err := unlocked(t, p, step.fresh)
		if err != nil || !slices.Equal(got, master) {
			t.Errorf("%+v: another secret, %v", step, err)
		}
		if store, err := KeyStoreOf(p); err != nil || store != step.store {
			t.Errorf("%+v: the store is %s, %v", step, store, err)
		}
		if _, err := os.Stat(p.keyFile()); (err == nil) != (step.store == KeyFile) {
			t.Errorf("%+v: the key file: %v", step, err)
		}
		if step.store == KeyPassphrase {
			if _, err := keyring.Get(keyringName, p.keys()); err == nil {
				t.Errorf("%+v: the keyring still has the key", step)
			}
			if _, err := unlocked(t, p, step.old+"?"); err == nil {
				t.Errorf("%+v: the old passphrase opens it", step)
			}
		}
	}
	before := read(t, p.keys())
	for name, c := range map[string]struct {
		old, store, fresh string
		want              fault.Kind
	}{
		"the same store":            {"", KeyKeyring, "", fault.Conflict},
		"no passphrase":             {"", KeyPassphrase, "", fault.Malformed},
		"a passphrase for a file":   {"", KeyFile, "x", fault.Malformed},
		"a store that there is not": {"", "cloud", "", fault.Malformed},
	} {
		if err := Rekey(p, []byte(c.old), c.store, []byte(c.fresh)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := keyring.Delete(keyringName, p.keys()); err != nil {
		t.Fatal(err)
	}
	if err := Rekey(p, nil, KeyPassphrase, []byte("x")); !errors.Is(err, fault.Locked) || read(t, p.keys()) != before {
		t.Errorf("without the key: %v", err)
	}
	if err := Rekey(place(t), nil, KeyPassphrase, []byte("x")); !errors.Is(err, fault.NotFound) {
		t.Errorf("without a home: %v", err)
	}
}

// TestEachFullBoundHasARelief: a problem never only repeats itself.
func TestEachFullBoundHasARelief(t *testing.T) {
	for _, r := range reliefs {
		if relief(r.bound+"x") == "" || relief(r.bound) != r.fix {
			t.Errorf("%s is hidden by another: %q", r.bound, relief(r.bound))
		}
	}
	for _, bound := range []string{"vault.fields", "catalog.products", "held.bytes", "keeper.boxes", "outbox.items", "market.agreements"} {
		if fix := relief(bound); !strings.Contains(fix, "hark ") || strings.Contains(fix, "status --json") {
			t.Errorf("%s: %q", bound, fix)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		o    InitOptions
		want fault.Kind
	}{
		"an unknown profile":           {InitOptions{Profile: "secret"}, fault.Malformed},
		"an unknown key store":         {InitOptions{KeyStore: "cloud"}, fault.Malformed},
		"no passphrase for the store":  {InitOptions{KeyStore: KeyPassphrase}, fault.Malformed},
		"a passphrase for a file":      {InitOptions{KeyStore: KeyFile, Passphrase: []byte("x")}, fault.Malformed},
		"a passphrase for the keyring": {InitOptions{KeyStore: KeyKeyring, Passphrase: []byte("x")}, fault.Malformed},
		"a bootstrap that is none":     {InitOptions{Bootstrap: []string{"example.org"}}, fault.Malformed},
		"three hops":                   {InitOptions{PostHops: 3}, fault.Malformed},
		"no hop":                       {InitOptions{PostHops: -1}, fault.Malformed},
		"a delay that is too long":     {InitOptions{PostDelay: "11s"}, fault.Malformed},
		"a delay without a unit":       {InitOptions{PostDelay: "5"}, fault.Malformed},
		"hops of a public node":        {InitOptions{Profile: Public, PostHops: 1}, fault.Malformed},
		"a delay of a public node":     {InitOptions{Profile: Public, PostDelay: "1s"}, fault.Malformed},
		"a word for an address":        {InitOptions{Profile: Public, Listen: []string{"nonsense"}}, fault.Malformed},
		"an address of a web page":     {InitOptions{Profile: Public, Listen: []string{"/ip4/0.0.0.0/tcp/80/ws"}}, fault.Malformed},
		"an address with a key":        {InitOptions{Profile: Public, Listen: []string{"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p"}}, fault.Malformed},
		"a personal node that listens": {InitOptions{Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}, fault.Malformed},
		"rubbish announced":            {InitOptions{Profile: Public, Announce: []string{"rubbish"}}, fault.Malformed},
		"any address announced":        {InitOptions{Profile: Public, Announce: []string{"/ip4/0.0.0.0/udp/4001/quic-v1"}}, fault.Malformed},
		"any port announced":           {InitOptions{Profile: Public, Announce: []string{"/ip4/192.0.2.1/tcp/0"}}, fault.Malformed},
		"an API for everybody":         {InitOptions{API: "0.0.0.0:9000"}, fault.Unsupported},
		"an API nowhere":               {InitOptions{API: "nonsense"}, fault.Malformed},
		"an API at no port":            {InitOptions{API: "127.0.0.1:99999"}, fault.Malformed},
		"a network that can't be":      {InitOptions{Network: &protocol.Genesis{Name: "x", Shards: 3}}, fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Paths = place(t)
			if err := Init(c.o); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := os.Stat(c.o.Paths.Config); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it left %v behind", names(t, c.o.Paths.Config))
			}
		})
	}
}

func TestInitLeavesAHomeThatIsThereAlone(t *testing.T) {
	p := home(t)
	before := read(t, p.keys()) + read(t, p.settings()) + read(t, p.network()) + read(t, p.keeperKey())
	if err := Init(InitOptions{Paths: p, Profile: Public}); !errors.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	if after := read(t, p.keys()) + read(t, p.settings()) + read(t, p.network()) + read(t, p.keeperKey()); after != before {
		t.Error("its files changed")
	}
}

// keys.json comes last: without it a home counts as none and can be made.
func TestInitFinishesWhatACrashCutOff(t *testing.T) {
	p := home(t)
	if err := os.Remove(p.keys()); err != nil {
		t.Fatal(err)
	}
	if err := Init(InitOptions{Paths: p, Passphrase: []byte("new"), Cheap: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := unlocked(t, p, "new"); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	p := place(t)
	if err := Init(InitOptions{Paths: p, Profile: Public}); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSettings(p)
	if err != nil || s.Version != SettingsVersion || s.Profile != Public || len(s.Listen) == 0 || s.API != "127.0.0.1:0" {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := ReadSettings(home(t)); err != nil || s.Profile != Personal || len(s.Listen) != 0 {
		t.Errorf("a personal home listens: %+v, %v", s, err)
	}
	good := read(t, p.settings())
	for name, c := range map[string]struct {
		text string
		want fault.Kind
	}{
		"a newer version":     {strings.Replace(good, "version = 1", "version = 2", 1), fault.Unsupported},
		"no version":          {strings.Replace(good, "version = 1", "", 1), fault.Unsupported},
		"no TOML":             {"version = ", fault.Malformed},
		"an unknown key":      {good + "post_hop = 1\n", fault.Malformed},
		"a table":             {good + "[peers]\nmost = 3\n", fault.Malformed},
		"a number for a list": {strings.Replace(good, "listen = [", "listen = 3 # [", 1), fault.Malformed},
		"a spoiled address":   {strings.Replace(good, "quic-v1", "quick", 1), fault.Malformed},
		"an open API":         {strings.Replace(good, "127.0.0.1:0", "0.0.0.0:0", 1), fault.Unsupported},
		"an unknown profile":  {strings.Replace(good, "profile = 'public'", "profile = 'pubic'", 1), fault.Malformed},
	} {
		if c.text == good {
			t.Fatalf("%s: the settings read\n%s", name, good)
		}
		if err := os.WriteFile(p.settings(), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSettings(p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := ReadSettings(place(t)); !errors.Is(err, fault.NotFound) {
		t.Errorf("no home: %v", err)
	}
}

func TestNetworkFiles(t *testing.T) {
	p := place(t)
	want := NewGenesis("a test", 8, []protocol.LaneRule{{Lane: protocol.LaneNone}, {Lane: protocol.LaneWork, Effort: 9}}, protocol.ID{5})
	if err := Init(InitOptions{Paths: p, Network: want}); err != nil {
		t.Fatal(err)
	}
	f, err := ReadNetwork(p.network())
	if err != nil {
		t.Fatal(err)
	}
	g, id, err := f.Open()
	if err != nil || g.Name != "a test" || len(g.Lanes) != 2 || g.Duties != want.Duties || id.String() != f.ID {
		t.Fatalf("got %+v, %s, %v", g, id, err)
	}
	for name, c := range map[string]struct {
		change func(*NetworkFile)
		want   fault.Kind
	}{
		"another id":      {func(f *NetworkFile) { f.ID = strings.Repeat("0", 64) }, fault.Malformed},
		"no id":           {func(f *NetworkFile) { f.ID = "" }, fault.Malformed},
		"another name":    {func(f *NetworkFile) { f.Genesis.Name = "hark" }, fault.Malformed},
		"more shards":     {func(f *NetworkFile) { f.Genesis.Shards = 16 }, fault.Malformed},
		"seven shards":    {func(f *NetworkFile) { f.Genesis.Shards = 7 }, fault.Malformed},
		"another salt":    {func(f *NetworkFile) { f.Genesis.Salt[0]++ }, fault.Malformed},
		"an easier lane":  {func(f *NetworkFile) { f.Genesis.Lanes[1].Effort = 1 }, fault.Malformed},
		"longer duties":   {func(f *NetworkFile) { f.Genesis.Duties.Deletion *= 2 }, fault.Malformed},
		"a newer schema":  {func(f *NetworkFile) { f.Schema = "hark.network/2" }, fault.Unsupported},
		"another roster":  {func(f *NetworkFile) { f.Genesis.Terms[0]++ }, fault.Malformed},
		"other catgories": {func(f *NetworkFile) { f.Genesis.Categories[0]++ }, fault.Malformed},
	} {
		other, err := ReadNetwork(p.network())
		if err != nil {
			t.Fatal(err)
		}
		c.change(&other)
		if _, _, err := other.Open(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Hints are outside the id.
	f.Bootstrap = []string{"/ip4/192.0.2.1/udp/4001/quic-v1"}
	if _, same, err := f.Open(); err != nil || same != id {
		t.Errorf("with other hints: %s, %v", same, err)
	}
}

func TestNetworkFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		want fault.Kind
	}{
		"no JSON":        {"{", fault.Malformed},
		"an unknown key": {`{"schema":"hark.network/1","owner":"me"}`, fault.Malformed},
		"a short hash":   {`{"schema":"hark.network/1","genesis":{"terms":"00"}}`, fault.Malformed},
		"too large":      {`{"schema":"` + strings.Repeat("x", protocol.MaxGenesis) + `"}`, fault.Malformed},
		"words after":    {`{"schema":"hark.network/1"} and so on`, fault.Malformed},
		"another after":  {`{"schema":"hark.network/1"}{"schema":"hark.network/1"}`, fault.Malformed},
		"a key twice":    {`{"schema":"bogus/9","schema":"hark.network/1"}`, fault.Malformed},
		"in both cases":  {`{"schema":"bogus/9","SCHEMA":"hark.network/1"}`, fault.Malformed},
		"in other case":  {`{"Schema":"hark.network/1"}`, fault.Malformed},
		"twice within":   {`{"schema":"hark.network/1","genesis":{"lanes":[{"lane":1,"lane":0}]}}`, fault.Malformed},
		"case within":    {`{"schema":"hark.network/1","genesis":{"duties":{"Lease":86400}}}`, fault.Malformed},
		"spaces after":   {`{"schema":"hark.network/1"}` + strings.Repeat(" ", protocol.MaxGenesis), fault.Malformed},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadNetwork(path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := ReadNetwork(filepath.Join(dir, "nowhere")); !errors.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
	// A file of any size costs no more than the bound.
	sparse := filepath.Join(dir, "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<33); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadNetwork(sparse); !errors.Is(err, fault.Malformed) {
		t.Errorf("a file of 8 GiB: %v", err)
	}
}

// FuzzNetworkFile: whatever stands in the file, nothing panics, and one that is taken
// says the same when it is written anew.
func FuzzNetworkFile(f *testing.F) {
	show, err := ShowNetwork(DefaultGenesis(), []string{"/ip4/192.0.2.1/udp/4001/quic-v1"})
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(show)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(good[:len(good)-1:len(good)-1], `,"SCHEMA":"hark.network/1"}`...))
	f.Add(append(slices.Clone(good), '{', '}'))
	f.Add([]byte(`{"schema":"hark.network/1","genesis":{"lanes":[{"lane":1,"effort":14}]}}`))
	path := filepath.Join(f.TempDir(), "network.json")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := ReadNetwork(path)
		if err != nil {
			if !errors.Is(err, fault.Malformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if len(raw) > protocol.MaxGenesis {
			t.Fatalf("%d bytes were read", len(raw))
		}
		g, id, err := file.Open()
		if err != nil {
			return
		}
		again, err := ShowNetwork(g, file.Bootstrap)
		if err != nil || again.ID != id.String() || !reflect.DeepEqual(again.Genesis, file.Genesis) {
			t.Fatalf("%+v, %v, is written as %+v", file, err, again)
		}
	})
}

// TestKeysFileIsStrict: the file of a home's keys is no place for what has no meaning.
func TestKeysFileIsStrict(t *testing.T) {
	p := place(t)
	if err := Init(InitOptions{Paths: p}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(p.keys())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"words after": string(good) + "x", "other case": strings.Replace(string(good), `"store"`, `"Store"`, 1),
		"twice": strings.Replace(string(good), "{", `{"store":"keyring",`, 1), "large": string(good) + strings.Repeat(" ", maxKeysFile),
	} {
		if err := os.WriteFile(p.keys(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeys(p); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(p.keys(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeys(p); err != nil {
		t.Error(err)
	}
}

func TestKeeperKey(t *testing.T) {
	p := home(t)
	a, err := keeperKey(p)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := keeperKey(p); err != nil || a.Public() != b.Public() {
		t.Errorf("read twice: %s and %s, %v", a.Public(), b.Public(), err)
	}
	for _, text := range []string{"", "!!!", "AAAA"} {
		if err := os.WriteFile(p.keeperKey(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keeperKey(p); !errors.Is(err, fault.Malformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What config.toml says of posting holds, what it is silent about is the default, and
// what is wrong is refused with what, where, and what to write.
func TestPostingSettings(t *testing.T) {
	p := home(t)
	sound := read(t, p.settings())
	if !strings.Contains(sound, "post_hops = 2") || !strings.Contains(sound, "post_delay = '5s'") {
		t.Errorf("a new home's settings are\n%s", sound)
	}
	plain := "version = 1\nprofile = 'personal'\n"
	for name, c := range map[string]struct {
		text string
		want courier.Posting
		bad  string
	}{
		"silent":          {plain, courier.Posting{TwoHops: true, Delay: 5 * time.Second}, ""},
		"one hop":         {plain + "post_hops = 1\n", courier.Posting{Delay: 5 * time.Second}, ""},
		"no delay":        {plain + "post_delay = '0s'\n", courier.Posting{TwoHops: true}, ""},
		"the longest":     {plain + "post_delay = '10s'\n", courier.Posting{TwoHops: true, Delay: 10 * time.Second}, ""},
		"a public node":   {"version = 1\nprofile = 'public'\n", courier.Posting{}, ""},
		"hops of zero":    {plain + "post_hops = 0\n", courier.Posting{}, "post_hops is 0: write 2"},
		"hops of three":   {plain + "post_hops = 3\n", courier.Posting{}, "post_hops is 3: write 2"},
		"a longer delay":  {plain + "post_delay = '1m'\n", courier.Posting{}, "from 0s to 10s"},
		"a negative one":  {plain + "post_delay = '-1s'\n", courier.Posting{}, "from 0s to 10s"},
		"no span of time": {plain + "post_delay = 'soon'\n", courier.Posting{}, `post_delay is "soon"`},
		"an empty one":    {plain + "post_delay = ''\n", courier.Posting{}, "from 0s to 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			s, ok := settingsOf(t, p, c.text, c.bad)
			if !ok {
				return
			}
			if got, err := s.posting(); err != nil || got.TwoHops != c.want.TwoHops || got.Delay != c.want.Delay {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
