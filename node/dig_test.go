package node

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
)

// A thief holds a home's files and its passphrase. It reads the store's files byte by
// byte, past the program: also what was overwritten or deleted.
type thief struct {
	entries map[string][][]byte // by key: all values that lie anywhere
	keys    []key.Secret        // every key that was found
	opened  [][]byte            // every plaintext
	files   map[string][]byte
}

// dig reads everything in a home, and opens what opens.
func dig(t *testing.T, p Paths, master key.Secret) *thief {
	t.Helper()
	d := &thief{entries: map[string][][]byte{}, files: map[string][]byte{}}
	err := filepath.Walk(p.Config, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		d.files[path] = raw
		switch {
		case err != nil:
		case strings.HasSuffix(path, ".sst"):
			d.table(t, raw)
		default:
			d.log(raw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.open(master)
	return d
}

// table reads an SST with all versions of all keys.
func (d *thief) table(t *testing.T, raw []byte) {
	t.Helper()
	tb, err := table.OpenInMemoryTable(raw, 1, &table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	it := tb.NewIterator(0)
	for it.Rewind(); it.Valid(); it.Next() {
		d.add(y.ParseKey(it.Key()), it.Value().Value)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
}

func (d *thief) add(k, value []byte) {
	d.entries[string(k)] = append(d.entries[string(k)], bytes.Clone(value))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// log finds badger's log entries at whatever place of a file: meta, user meta, the
// lengths of key and value, an expiry, key, value, and a checksum over all of it.
func (d *thief) log(raw []byte) {
	for at := 0; at+16 < len(raw); at++ {
		head := raw[at+2 : min(at+40, len(raw))]
		klen, a := binary.Uvarint(head)
		if a <= 0 || klen < 9 || klen > 1200 {
			continue
		}
		vlen, b := binary.Uvarint(head[a:])
		if b <= 0 || vlen > 2<<20 {
			continue
		}
		_, c := binary.Uvarint(head[a+b:])
		k := at + 2 + a + b + c
		v := k + int(klen)
		end := v + int(vlen)
		if c <= 0 || end+4 > len(raw) || crc32.Checksum(raw[at:end], castagnoli) != binary.BigEndian.Uint32(raw[end:]) {
			continue
		}
		d.add(y.ParseKey(raw[k:v]), raw[v:end])
	}
}

// open tries every sealed blob under every key until no new key turns up.
func (d *thief) open(master key.Secret) {
	names := seal.Derive(master, seal.LabelVaultName, nil)
	d.keys = []key.Secret{
		master, seal.Derive(master, seal.LabelRecord, nil), names, seal.Derive(names, seal.LabelVaultEpoch, nil),
		seal.Derive(names, seal.LabelVaultName, nil), seal.Derive(master, seal.LabelVaultEpoch, nil), seal.Derive(master, seal.LabelDevice, nil),
	}
	type blob struct {
		at  string
		raw []byte
	}
	var blobs []blob
	seen := map[string]bool{} // the same entry may lie in a log and in a table
	for k, values := range d.entries {
		for _, v := range values {
			if seen[k+"\x00"+string(v)] {
				continue
			}
			seen[k+"\x00"+string(v)] = true
			blobs = append(blobs, blob{k, v})
			if inner, err := seal.OpenRecord(d.keys[1], k, 1, "kv", v); err == nil {
				d.opened = append(d.opened, inner)
				blobs = append(blobs, blob{k, inner})
			}
		}
	}
	for i := 0; i < len(d.keys); i++ { // it grows
		for _, b := range blobs {
			plain, ok := unseal(d.keys[i], b.at, b.raw)
			if !ok && len(b.raw) > 4 {
				plain, ok = unseal(d.keys[i], b.at, b.raw[4:])
			}
			if !ok {
				continue
			}
			d.opened = append(d.opened, plain)
			if s, err := key.SecretFrom(plain); err == nil {
				d.keys = append(d.keys, s)
			}
		}
	}
}

// unseal tries every use that the vault has for a lock. What is longer than any record
// can only be a chunk.
func unseal(k key.Secret, at string, raw []byte) ([]byte, bool) {
	n := []uint64{0, 1, 2, 3}
	if len(at) >= 8 {
		n = append(n, binary.BigEndian.Uint64([]byte(at[len(at)-8:])))
	}
	for _, n := range n {
		if len(raw) > 16<<10 {
			break
		}
		for _, schema := range []string{"vault-key", "vault-head", "vault-value", "kv", keysSchema} {
			if plain, err := seal.OpenRecord(k, at, n, schema, raw); err == nil {
				return plain, true
			}
		}
	}
	for _, last := range []bool{false, true} {
		if plain, err := seal.OpenChunk(k, n[len(n)-1], last, raw); err == nil {
			return plain, true
		}
	}
	return nil, false
}

// finds tells whether words were found, in the clear or behind the keys.
func (d *thief) finds(words string) bool {
	for _, raw := range d.files {
		if bytes.Contains(raw, []byte(words)) {
			return true
		}
	}
	for _, plain := range d.opened {
		if bytes.Contains(plain, []byte(words)) {
			return true
		}
	}
	return false
}
