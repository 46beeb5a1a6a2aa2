package node

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/zalando/go-keyring"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/phrase"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol/fault"
)

// Where the key that opens a home comes from.
const (
	KeyPassphrase = "passphrase" // Argon2id over what its owner types
	KeyKeyring    = "keyring"    // the operating system's keyring
	KeyFile       = "file"       // a file beside the home, readable by its owner alone
)

// keysFile is <config>/keys.json: the random master secret of the home, sealed
// under a key that is not in it.
type keysFile struct {
	Schema string        `json:"schema"`
	Store  string        `json:"store"`
	Salt   []byte        `json:"salt,omitempty"`
	Params phrase.Params `json:"argon2id,omitzero"`
	Sealed []byte        `json:"sealed"`
}

const (
	keysSchema  = "hark.keys/1"
	keyringName = "hark"
)

// newKeys makes a master secret and seals it under a fresh key of the given store.
func newKeys(p Paths, store string, passphrase []byte, cheap bool) (key.Secret, error) {
	master := key.NewSecret()
	return master, sealKeys(p, master, store, passphrase, cheap)
}

// sealKeys seals a master secret under a fresh key of the given store, and writes keys.json
// last: until then what was there opens.
func sealKeys(p Paths, master key.Secret, store string, passphrase []byte, cheap bool) error {
	f := keysFile{Schema: keysSchema, Store: store, Salt: key.NewSecret().Reveal()[:16]}
	var lock key.Secret
	var err error
	switch store {
	case KeyPassphrase:
		f.Params = phrase.Default()
		if cheap {
			f.Params = phrase.Cheap()
		}
		lock, err = phrase.Key(passphrase, [16]byte(f.Salt), f.Params)
	case KeyKeyring:
		lock = key.NewSecret()
		reached("keyring set", p.keys())
		err = keyring.Set(keyringName, p.keys(), base64.StdEncoding.EncodeToString(lock.Reveal()))
		if err != nil {
			err = fmt.Errorf("the operating system's keyring cannot be used (%w); choose --key-store passphrase or file: %w", err, fault.Unsupported)
		}
	case KeyFile:
		lock = key.NewSecret()
		err = writeFile(p.keyFile(), []byte(base64.StdEncoding.EncodeToString(lock.Reveal())+"\n"))
	default:
		err = knownStore(store)
	}
	if err != nil {
		return err
	}
	f.Sealed = seal.SealRecord(lock, "master", 1, keysSchema, master.Reveal())
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return writeFile(p.keys(), append(raw, '\n'))
}

// KeyStoreOf says what opens a home: KeyPassphrase, KeyKeyring or KeyFile.
func KeyStoreOf(p Paths) (string, error) {
	f, err := readKeys(p)
	return f.Store, err
}

// Rekey puts what opens a home into another store, or changes its passphrase: the master
// secret stays, so nothing else is written anew, and a running node goes on. Whatever stops
// it half-way, the old key or the new one opens the home: the new one is durable before
// keys.json asks for it, and that before the old one is removed. Whoever has copied the old
// key together with keys.json can open that copy for ever.
func Rekey(p Paths, old []byte, store string, passphrase []byte) error {
	return rekey(p, old, store, passphrase, false)
}

// rekey may have a new passphrase cost little; it does anyway where the old one did.
func rekey(p Paths, old []byte, store string, passphrase []byte, cheap bool) error {
	f, err := readKeys(p)
	if err != nil {
		return err
	}
	if err := knownStore(store); err != nil {
		return err
	}
	if (store == KeyPassphrase) != (len(passphrase) > 0) {
		return fmt.Errorf("a passphrase goes with the key store %s, and with no other: %w", KeyPassphrase, fault.Malformed)
	}
	if store == f.Store && store != KeyPassphrase { // two keys of one store would stand in one place
		return fmt.Errorf("the key of this home is in the %s store already: %w", store, fault.Conflict)
	}
	master, err := f.open(p, old)
	if err != nil {
		return err
	}
	cheap = cheap || f.Store == KeyPassphrase && f.Params == phrase.Cheap()
	if err := sealKeys(p, master, store, passphrase, cheap); err != nil {
		return err
	}
	switch f.Store { // the old key opens nothing any more
	case KeyFile:
		err = removeFile(p.keyFile())
	case KeyKeyring:
		reached("keyring delete", p.keys())
		err = keyring.Delete(keyringName, p.keys())
	}
	if err != nil {
		return fmt.Errorf("the new key holds; the old one is still in the %s store: %w", f.Store, err)
	}
	return nil
}

// knownStore refuses a key store that there is not.
func knownStore(store string) error {
	switch store {
	case KeyPassphrase, KeyKeyring, KeyFile:
		return nil
	}
	return fmt.Errorf("key store %q is none of %s, %s, %s: %w", store, KeyPassphrase, KeyKeyring, KeyFile, fault.Malformed)
}

const maxKeysFile = 4 << 10 // keys.json has about 300 bytes

// readKeys reads keys.json.
func readKeys(p Paths) (keysFile, error) {
	var f keysFile
	err := readStrict(p.keys(), maxKeysFile, &f)
	if errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("no node lives in %s; make one with hark init: %w", p.Config, fault.NotFound)
	}
	if err != nil {
		return f, fmt.Errorf("keys %s: %w", p.keys(), err)
	}
	if f.Schema != keysSchema || len(f.Salt) != 16 {
		return f, fmt.Errorf("%s has schema %q, this program reads %s: %w", p.keys(), f.Schema, keysSchema, fault.Unsupported)
	}
	return f, nil
}

// needsPassphrase reports whether the home starts locked.
func (f keysFile) needsPassphrase() bool { return f.Store == KeyPassphrase }

// open gives the master secret. A wrong passphrase is fault.Denied, none where one
// is needed fault.Locked.
func (f keysFile) open(p Paths, passphrase []byte) (key.Secret, error) {
	lock, err := f.lock(p, passphrase)
	if err != nil {
		return key.Secret{}, err
	}
	raw, err := seal.OpenRecord(lock, "master", 1, keysSchema, f.Sealed)
	if err != nil {
		if f.Store == KeyPassphrase {
			return key.Secret{}, fmt.Errorf("wrong passphrase: %w", fault.Denied)
		}
		return key.Secret{}, fmt.Errorf("the key of the %s store does not open %s: %w", f.Store, p.keys(), fault.Denied)
	}
	return key.SecretFrom(raw)
}

// lock gives the key that the master secret is sealed under.
func (f keysFile) lock(p Paths, passphrase []byte) (key.Secret, error) {
	var text string
	switch f.Store {
	case KeyPassphrase:
		if len(passphrase) == 0 {
			return key.Secret{}, fmt.Errorf("a passphrase is needed: %w", fault.Locked)
		}
		if err := f.Params.Check(); err != nil {
			return key.Secret{}, fmt.Errorf("%s: %w (%w)", p.keys(), fault.Malformed, err)
		}
		return phrase.Key(passphrase, [16]byte(f.Salt), f.Params)
	case KeyKeyring:
		var err error
		if text, err = keyring.Get(keyringName, p.keys()); err != nil {
			return key.Secret{}, fmt.Errorf("the operating system's keyring does not give the key of this home (%w): %w", err, fault.Locked)
		}
	case KeyFile:
		raw, err := os.ReadFile(p.keyFile())
		if err != nil {
			return key.Secret{}, fmt.Errorf("key file (%w): %w", err, fault.Locked)
		}
		text = strings.TrimSpace(string(raw))
	default:
		return key.Secret{}, fmt.Errorf("key store %q: %w", f.Store, fault.Unsupported)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return key.Secret{}, fmt.Errorf("the key of the %s store is not base64: %w", f.Store, fault.Malformed)
	}
	return key.SecretFrom(raw)
}

// keeperKey reads the identity of a public node, made at init. It is kept in the
// clear, readable by its owner alone: a locked node keeps mail for others.
func keeperKey(p Paths) (key.Private[key.Keeper], error) {
	raw, err := os.ReadFile(p.keeperKey())
	if err != nil {
		return key.Private[key.Keeper]{}, fmt.Errorf("keeper key: %w", err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		return key.Private[key.Keeper]{}, fmt.Errorf("keeper key is not base64: %w", fault.Malformed)
	}
	s, err := key.SecretFrom(seed)
	if err != nil {
		return key.Private[key.Keeper]{}, fmt.Errorf("keeper key: %w", fault.Malformed)
	}
	return key.FromSeed[key.Keeper](s), nil
}

func newKeeperKey(p Paths) error {
	k := key.Generate[key.Keeper]()
	return writeFile(p.keeperKey(), []byte(base64.StdEncoding.EncodeToString(k.Seed().Reveal())+"\n"))
}
