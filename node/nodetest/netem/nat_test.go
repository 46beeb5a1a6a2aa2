package netem

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// hear waits a second for a packet.
func hear(t *testing.T, c net.PacketConn) (text, from string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, at, err := c.ReadFrom(b)
	if err != nil {
		return "", ""
	}
	return string(b[:n]), at.String()
}

// A NAT lets out, and in from where something went out to; what others see of a socket
// is one port of a cone, another one each of a symmetric NAT.
func TestNATs(t *testing.T) {
	for name, kind := range map[string]Kind{"cone": Cone, "symmetric": Symmetric} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(Config{Latency: time.Millisecond})
				defer n.Close()
				socket := func(h *Host) net.PacketConn {
					c, err := h.socket(port)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				send := func(from net.PacketConn, to string, text string) {
					at, err := net.ResolveUDPAddr("udp", to)
					if err == nil {
						_, err = from.WriteTo([]byte(text), at)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				hidden := n.AddBehind(kind)
				in, one, two := socket(hidden), socket(n.Add()), socket(n.Add())
				send(one, "10.0.0.1:8000", "to the private address")
				send(one, "1.0.0.1:40001", "before anything went out")
				if text, _ := hear(t, in); text != "" {
					t.Errorf("%q came in", text)
				}
				send(in, one.LocalAddr().String(), "out")
				text, seen := hear(t, one)
				if text != "out" || seen != "1.0.0.1:40001" {
					t.Fatalf("%q from %s", text, seen)
				}
				send(one, seen, "answer")
				if text, from := hear(t, in); text != "answer" || from != one.LocalAddr().String() {
					t.Errorf("%q from %s", text, from)
				}
				send(two, seen, "from where nothing went")
				if text, _ := hear(t, in); text != "" {
					t.Errorf("%q came in", text)
				}
				send(in, two.LocalAddr().String(), "out")
				if _, other := hear(t, two); (other == seen) != (kind == Cone) {
					t.Errorf("one sees %s, the other %s", seen, other)
				}
				send(two, seen, "after something went to it")
				if text, _ := hear(t, in); (text != "") != (kind == Cone) {
					t.Errorf("%q came in at the port that one knows", text)
				}
				far := socket(n.AddBehind(Cone))
				send(in, "1.3.0.1:40001", "knock")
				send(far, seen, "knock")
				if text, from := hear(t, in); (text != "") != (kind == Cone) {
					t.Errorf("both knocked at the ports that they knew: %q from %s", text, from)
				}
				for _, c := range []net.PacketConn{in, one, two, far} {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
