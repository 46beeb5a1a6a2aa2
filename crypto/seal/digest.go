package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/harkmarket/hark/crypto/key"
)

// LP returns uint32be(len x)‖x for each part in turn. Lists of parts that differ
// give bytes that differ.
func LP(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += 4 + len(p)
	}
	out := make([]byte, 0, n)
	for _, p := range parts {
		out = appendLP(out, p)
	}
	return out
}

func appendLP[T ~[]byte | ~string](out []byte, part T) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
	return append(out, part...)
}

// Digest is SHA-256(LP(label)‖part‖part…). The parts are not length-prefixed:
// give each a fixed size, but for at most one, the last. Wrap in LP what varies.
func Digest(l Label, parts ...[]byte) [32]byte {
	h := sha256.New()
	writeLabel(h, l)
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(make([]byte, 0, sha256.Size)))
}

func writeLabel(h hash.Hash, l Label) { h.Write(appendLP(make([]byte, 0, 64), l)) }

// Derive makes another secret from s: HKDF-SHA256 (RFC 5869) without salt, with
// info LP(label)‖LP(info), 32 bytes. It panics on a zero secret, as everything here
// does that would otherwise lock under a key that everyone knows.
func Derive(s key.Secret, l Label, info []byte) key.Secret {
	full := appendLP(LP([]byte(l)), info)
	out, err := hkdf.Key(sha256.New, reveal(s), nil, string(full), key.SecretSize)
	if err != nil {
		panic("seal: " + err.Error()) // only for lengths over 255 hashes
	}
	return secret(out)
}

// MAC authenticates msg with HMAC-SHA256 under k over LP("hark/1/mac")‖msg. Both
// holders of k can make it: it convinces the other one, and nobody else.
func MAC(k key.Secret, msg []byte) [32]byte {
	h := hmac.New(sha256.New, reveal(k))
	writeLabel(h, LabelMAC)
	h.Write(msg)
	return [32]byte(h.Sum(nil))
}

// CheckMAC compares in constant time; a zero key checks nothing.
func CheckMAC(k key.Secret, msg, mac []byte) bool {
	if k.IsZero() {
		return false
	}
	want := MAC(k, msg)
	return hmac.Equal(want[:], mac)
}

func reveal(s key.Secret) []byte {
	if s.IsZero() {
		panic("seal: no key")
	}
	return s.Reveal()
}

// secret wraps the output of a hash function, which is never all zeros.
func secret(raw []byte) key.Secret {
	s, err := key.SecretFrom(raw)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return s
}
