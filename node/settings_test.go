package node

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

// What is wrong in config.toml is said with its line, in words of the file.
func TestWhatIsWrongInTheSettingsHasItsPlace(t *testing.T) {
	p := place(t)
	if err := Init(InitOptions{Paths: p}); err != nil {
		t.Fatal(err)
	}
	plain := "version = 1\nprofile = 'personal'\n"
	for text, want := range map[string]string{
		plain + "post_hop = 1\n":       `line 3: there is no setting "post_hop"; did you mean post_hops?`,
		plain + "colour = 'red'\n":     `line 3: there is no setting "colour"; there are version, profile`,
		plain + "[x]\ny = 1\n":         `there is no setting "x`,
		"version = 'one'\n":            `line 1: version can't have a value of this kind`,
		plain + "post_delay = 5\n":     `line 3: post_delay can't have a value of this kind`,
		plain + "listen = ['/ip4/x']":  "listen: a personal node listens nowhere",
		"version = \n":                 "line 1: ",
		plain + "api = 'everywhere'\n": `api: "everywhere" is no address`,
	} {
		if err := os.WriteFile(p.settings(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadSettings(p)
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), p.settings()) {
			t.Errorf("%q gave %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q gave %q", text, err)
		}
	}
}

// A port that somebody else has ends the start with the address, and with the line of the
// settings that helps; it used to end with a panic.
func TestAPortThatIsTakenEndsTheStart(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_, port, err := net.SplitHostPort(udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	taken := "/ip4/127.0.0.1/udp/" + port + "/quic-v1"
	for name, c := range map[string]struct {
		o         InitOptions
		addr, key string
	}{
		"the network's": {InitOptions{Profile: Public, Listen: []string{taken}}, taken, "listen"},
		"the API's":     {InitOptions{Profile: Public, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, API: tcp.Addr().String()}, tcp.Addr().String(), "api"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Paths = place(t)
			if err := Init(c.o); err != nil {
				t.Fatal(err)
			}
			n, err := Open(context.Background(), Config{Paths: c.o.Paths})
			if n != nil || !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), c.addr) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, %v", n, err)
			}
			e, ok := errors.AsType[*misset](err)
			if !ok || !strings.Contains(e.Next(), "for "+c.key+" in "+c.o.Paths.settings()) {
				t.Errorf("what to do: %v", e)
			}
		})
	}
}

// settingsOf reads settings from a file of this text; those that are bad, not ok, have to be
// refused with the reason and the file.
func settingsOf(t *testing.T, p Paths, text, bad string) (s Settings, ok bool) {
	t.Helper()
	if err := os.WriteFile(p.settings(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSettings(p)
	if bad != "" {
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), p.settings()) {
			t.Errorf("got %v", err)
		}
		return s, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, true
}
