package kv_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dgraph-io/badger/v4"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s kv.Store, key, value string) {
	t.Helper()
	must(t, s.Update(context.Background(), func(tx kv.Tx) error { return tx.Put([]byte(key), []byte(value)) }))
}

func get(s kv.Store, key string) (value string, err error) {
	err = s.View(context.Background(), func(r kv.Reader) error {
		v, err := r.Get([]byte(key))
		value = string(v)
		return err
	})
	return value, err
}

// onDisk opens stores in temporary folders and opens them again.
type onDisk struct {
	mu   sync.Mutex
	dirs map[kv.Store]string
	wrap func(kv.Store) kv.Store
}

func (o *onDisk) open(t testing.TB) kv.Store { return o.at(t, t.TempDir()) }

func (o *onDisk) at(t testing.TB, dir string) kv.Store {
	t.Helper()
	s, err := kv.Open(dir)
	must(t, err)
	s = o.wrap(s)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dirs[s] = dir
	return s
}

func (o *onDisk) reopen(t testing.TB, s kv.Store) kv.Store {
	t.Helper()
	must(t, s.Close())
	o.mu.Lock()
	dir := o.dirs[s]
	o.mu.Unlock()
	return o.at(t, dir)
}

func bare(s kv.Store) kv.Store { return s }

func itself(_ testing.TB, s kv.Store) kv.Store { return s }

func TestEveryStoreKeepsThePromises(t *testing.T) {
	secret := key.NewSecret()
	seal := func(s kv.Store) kv.Store { return kv.Sealed(s, secret) }
	memory := func(testing.TB) kv.Store { return kv.Memory() }
	sealedMemory := func(testing.TB) kv.Store { return seal(kv.Memory()) }
	plain := &onDisk{dirs: map[kv.Store]string{}, wrap: bare}
	sealed := &onDisk{dirs: map[kv.Store]string{}, wrap: seal}
	t.Run("memory", func(t *testing.T) { storetest.KV(t, memory, itself) })
	t.Run("badger", func(t *testing.T) { storetest.KV(t, plain.open, plain.reopen) })
	t.Run("sealed memory", func(t *testing.T) { storetest.KV(t, sealedMemory, itself) })
	t.Run("sealed badger", func(t *testing.T) { storetest.KV(t, sealed.open, sealed.reopen) })
}

func TestMemoryLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := kv.Memory()
		for i := range 20 {
			go put(t, s, fmt.Sprint(i), "x")
		}
		synctest.Wait()
		n := 0
		must(t, s.View(t.Context(), func(r kv.Reader) error {
			return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
		}))
		if n != 20 || s.Size() != 0 {
			t.Errorf("%d keys, size %d", n, s.Size())
		}
		must(t, s.Close())
	})
}

func TestASecondOpenerIsToldSo(t *testing.T) {
	dir := t.TempDir()
	s, err := kv.Open(dir)
	must(t, err)
	for name, open := range map[string]func() (kv.Store, error){
		"Open":         func() (kv.Store, error) { return kv.Open(dir) },
		"OpenReadOnly": func() (kv.Store, error) { return kv.OpenReadOnly(dir) },
	} {
		if _, err := open(); !errors.Is(err, fault.Conflict) {
			t.Errorf("%s of an open folder = %v, want Conflict", name, err)
		}
	}
	must(t, s.Close())
	s, err = kv.Open(dir)
	must(t, err)
	must(t, s.Close())
}

func TestFoldersThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := kv.Open(file); err == nil {
		t.Error("Open of a file works")
	}
	if _, err := kv.Open(filepath.Join(file, "sub")); !errors.Is(err, fault.Malformed) {
		t.Errorf("Open below a file = %v, want Malformed", err)
	}
	if _, err := kv.OpenReadOnly(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fault.NotFound) {
		t.Errorf("OpenReadOnly of nothing = %v, want NotFound", err)
	}
	broken := t.TempDir()
	s, err := kv.Open(broken)
	must(t, err)
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(broken, "MANIFEST"), []byte("not a manifest"), 0o600))
	if _, err := kv.Open(broken); err == nil {
		t.Error("Open of a broken folder works")
	}
}

// fingerprint is the name, size, time and content of every file of a folder.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		fmt.Fprintln(&b, f.Name(), info.Size(), info.ModTime(), sha256.Sum256(raw))
	}
	return b.String()
}

func audit(t *testing.T, dir string, wantLast string) {
	t.Helper()
	before := fingerprint(t, dir)
	s, err := kv.OpenReadOnly(dir)
	must(t, err)
	if got, err := get(s, "last"); got != wantLast || err != nil {
		t.Errorf("the audit reads %q, %v, want %q", got, err, wantLast)
	}
	err = s.Update(t.Context(), func(tx kv.Tx) error { return tx.Put([]byte("last"), nil) })
	if !errors.Is(err, fault.Denied) {
		t.Errorf("Update of a store opened for reading = %v, want Denied", err)
	}
	if s.Size() <= 0 {
		t.Errorf("Size = %d", s.Size())
	}
	must(t, s.Close())
	if after := fingerprint(t, dir); after != before {
		t.Errorf("the audit changed the folder:\n%s\n%s", before, after)
	}
}

func TestAnAuditChangesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	s, err := kv.Open(dir)
	must(t, err)
	for i := range 20 {
		put(t, s, fmt.Sprint("k", i), strings.Repeat("v", 1000))
	}
	put(t, s, "last", "1")
	must(t, s.Close())
	audit(t, dir, "1")
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("the audit left %v, %v", left, err)
	}
}

// Badger alone never opens such a folder again; a kill at the wrong moment makes one.
func TestAKillWhileALogIsMadeOrDropped(t *testing.T) {
	dir := t.TempDir()
	s, err := kv.Open(dir)
	must(t, err)
	put(t, s, "last", "1")
	must(t, s.Close())
	plant := func() {
		for _, name := range []string{"00007.mem", "000007.vlog"} {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
	}
	plant()
	opts := badger.DefaultOptions(dir).WithLogger(nil)
	if db, err := badger.Open(opts); err == nil {
		must(t, db.Close())
		t.Error("badger opens it now: mend is no longer needed")
	}
	plant()
	audit(t, dir, "1")
	s, err = kv.Open(dir)
	must(t, err)
	if got, err := get(s, "last"); got != "1" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
	must(t, s.Close())
}

func TestSealedValuesAreBoundToTheirKeys(t *testing.T) {
	under := kv.Memory()
	secret := key.NewSecret()
	s := kv.Sealed(under, secret)
	put(t, s, "phone", "+27 82 000 0000")
	put(t, s, "mail", "ann@example.org")
	raw := func(k string) string { v, err := get(under, k); must(t, err); return v }
	phone, mail := raw("phone"), raw("mail")
	if strings.Contains(phone, "+27") || strings.Contains(phone, "000") {
		t.Fatal("the value lies open")
	}
	refused := func(what string, s kv.Store, k string) {
		t.Helper()
		if _, err := get(s, k); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), fmt.Sprintf("%x", k)) {
			t.Errorf("%s: Get = %v, want Malformed and the key in hex", what, err)
		}
		err := s.View(t.Context(), func(r kv.Reader) error {
			return r.Scan([]byte(k), nil, func(_, _ []byte) (bool, error) { return true, nil })
		})
		if !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: Scan = %v, want Malformed", what, err)
		}
	}
	refused("another secret", kv.Sealed(under, key.NewSecret()), "phone")
	put(t, under, "phone", mail)
	refused("swapped", s, "phone")
	put(t, under, "moved", phone)
	refused("moved", s, "moved")
	for i := range len(phone) {
		b := []byte(phone)
		b[i] ^= 1
		put(t, under, "phone", string(b))
		refused(fmt.Sprint("bit flipped in byte ", i), s, "phone")
	}
	put(t, under, "phone", phone[:len(phone)-1])
	refused("cut", s, "phone")
	put(t, under, "phone", "")
	refused("emptied", s, "phone")
	put(t, under, "phone", phone)
	if got, err := get(s, "phone"); got != "+27 82 000 0000" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
}

type record struct {
	Name string `cbor:"1,keyasint"`
	Size int64  `cbor:"2,keyasint,omitempty"`
	Raw  []byte `cbor:"3,keyasint,omitempty"`
}

func TestCBORRecords(t *testing.T) {
	s := kv.Memory()
	in := record{Name: "näme", Size: -7, Raw: []byte{1, 2}}
	must(t, s.Update(t.Context(), func(tx kv.Tx) error { return kv.PutCBOR(tx, []byte("r"), in) }))
	must(t, s.View(t.Context(), func(r kv.Reader) error {
		var out record
		if err := kv.GetCBOR(r, []byte("r"), &out); err != nil || out.Name != in.Name ||
			out.Size != in.Size || !bytes.Equal(out.Raw, in.Raw) {
			t.Errorf("got %+v, %v, want %+v", out, err, in)
		}
		if err := kv.GetCBOR(r, []byte("none"), &out); !errors.Is(err, fault.NotFound) {
			t.Errorf("GetCBOR of nothing = %v", err)
		}
		return nil
	}))
	err := s.Update(t.Context(), func(tx kv.Tx) error { return kv.PutCBOR(tx, []byte("c"), make(chan int)) })
	if err == nil {
		t.Error("PutCBOR stored a channel")
	}
	for name, raw := range map[string]string{
		"nothing":           "",
		"cut":               "\xa1\x01",
		"trailing byte":     "\xa1\x01\x61a\x00",
		"unknown key":       "\xa2\x01\x61a\x09\x01",
		"duplicate key":     "\xa2\x01\x61a\x01\x61b",
		"indefinite length": "\xbf\x01\x61a\xff",
		"tag":               "\xc1\xa1\x01\x61a",
		"wrong type":        "\xa1\x01\x02",
		"bad UTF-8":         "\xa1\x01\x61\xff",
	} {
		var out record
		if err := kv.DecodeCBOR([]byte(raw), &out); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want Malformed", name, err)
		}
	}
}

func FuzzDecodeCBOR(f *testing.F) {
	f.Add([]byte("\xa1\x01\x61a"))
	f.Add([]byte("\xa3\x01\x61a\x02\x26\x03\x42\x01\x02"))
	f.Add([]byte("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r record
		if err := kv.DecodeCBOR(raw, &r); err != nil {
			return
		}
		s := kv.Memory()
		must(t, s.Update(t.Context(), func(tx kv.Tx) error { return kv.PutCBOR(tx, []byte("r"), r) }))
		var again record
		must(t, s.View(t.Context(), func(rd kv.Reader) error { return kv.GetCBOR(rd, []byte("r"), &again) }))
		if again.Name != r.Name || again.Size != r.Size || !bytes.Equal(again.Raw, r.Raw) {
			t.Errorf("%+v became %+v", r, again)
		}
	})
}

func TestTheLogGoesWhereItIsTold(t *testing.T) {
	var out bytes.Buffer
	s, err := kv.Open(t.TempDir(), kv.WithLog(slog.New(slog.NewTextHandler(&out, nil))))
	must(t, err)
	put(t, s, "a", "1")
	must(t, s.Close())
	if out.Len() != 0 {
		t.Errorf("a healthy store logs:\n%s", out.String())
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, size := range []int{100, 1 << 10} {
		b.Run(fmt.Sprint("synced/", size), func(b *testing.B) {
			s, err := kv.Open(b.TempDir())
			must(b, err)
			benchUpdate(b, s, size)
			must(b, s.Close())
		})
		b.Run(fmt.Sprint("sealed/", size), func(b *testing.B) {
			s, err := kv.Open(b.TempDir())
			must(b, err)
			benchUpdate(b, kv.Sealed(s, key.NewSecret()), size)
			must(b, s.Close())
		})
		b.Run(fmt.Sprint("memory/", size), func(b *testing.B) { benchUpdate(b, kv.Memory(), size) })
	}
}

func benchUpdate(b *testing.B, s kv.Store, size int) {
	value, i := make([]byte, size), 0
	for b.Loop() {
		i++
		must(b, s.Update(context.Background(), func(tx kv.Tx) error {
			return tx.Put(fmt.Appendf(nil, "key/%08d", i), value)
		}))
	}
}
