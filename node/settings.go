package node

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	toml "github.com/pelletier/go-toml/v2"

	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// freeLoopback is where the API listens unless told otherwise.
const freeLoopback = "127.0.0.1:0"

// check refuses what no node could be run with.
func (s Settings) check() error {
	if s.Profile != Personal && s.Profile != Public {
		return fmt.Errorf("profile %.40q is neither %s nor %s: %w", s.Profile, Personal, Public, fault.Malformed)
	}
	if s.Profile == Personal && len(s.Announce) > 0 {
		return fmt.Errorf("announce: a personal node announces no address; a public one does: %w", fault.Malformed)
	}
	if s.Profile == Personal && len(s.Listen) > 0 {
		return fmt.Errorf("listen: a personal node listens nowhere; a public one does: %w", fault.Malformed)
	}
	for _, text := range s.Listen {
		if _, err := address.Bare(text); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	for _, text := range s.Announce {
		a, err := address.Bare(text)
		if err == nil && nowhere(a) {
			err = fmt.Errorf("nobody can dial %s: name an address and a port at which others reach this node: %w", a, fault.Malformed)
		}
		if err != nil {
			return fmt.Errorf("announce: %w", err)
		}
	}
	if s.API != "" {
		if err := api.Loopback(s.API); err != nil {
			return err
		}
	}
	_, errPosting := s.posting()
	_, errWays := s.off()
	return errors.Join(errPosting, errWays)
}

// nowhere tells whether an address stands for any address, or for any port.
func nowhere(a ma.Multiaddr) bool {
	ip := address.IPOf(a)
	return ip.IsValid() && ip.IsUnspecified() || strings.Contains(a.String()+"/", "/udp/0/") || strings.Contains(a.String()+"/", "/tcp/0/")
}

// settingNames are the keys of config.toml.
func settingNames() (names []string) {
	t := reflect.TypeFor[Settings]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("toml"), ",")
		names = append(names, name)
	}
	return names
}

// readTOML reads settings and says of what is wrong on which line it stands, in words of the
// file and not of this program.
func readTOML(raw []byte, s *Settings) error {
	err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(s)
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(missing.Errors) > 0 {
		line, _ := missing.Errors[0].Position()
		return fmt.Errorf("line %d: %s: %w", line, noSetting(strings.Join(missing.Errors[0].Key(), ".")), fault.Malformed)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		if key := strings.Join(e.Key(), "."); strings.Contains(e.Error(), "cannot decode") && key != "" {
			return fmt.Errorf("line %d: %.40s can't have a value of this kind (a text stands in quotes, a number does not, a list in square brackets): %w", line, key, fault.Malformed)
		}
		return fmt.Errorf("line %d: %s: %w", line, strings.TrimPrefix(e.Error(), "toml: "), fault.Malformed)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimPrefix(err.Error(), "toml: "), fault.Malformed)
	}
	return nil
}

// noSetting says that no setting has this name, and which it may have meant.
func noSetting(name string) string {
	if near := protocol.Near(name, settingNames(), 1); len(near) > 0 {
		return fmt.Sprintf("there is no setting %.40q; did you mean %s?", name, near[0])
	}
	return protocol.NoSuch("setting", name, settingNames())
}

// A misset is an error that a line of config.toml mends.
type misset struct {
	error
	key, file string
}

func (e *misset) Unwrap() error { return e.error }

// Next is what to do about it.
func (e *misset) Next() string {
	return fmt.Sprintf("end what has that address, or write another one for %s in %s", e.key, e.file)
}

// mend says which line of the settings helps against an error, where one does.
func (p Paths) mend(err error, key string) error {
	if errors.Is(err, fault.Conflict) {
		return &misset{err, key, p.settings()}
	}
	return err
}
