package known

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

func TestCheckedCapabilities(t *testing.T) {
	const now = protocol.Second(1_800_000_000)
	box := key.Generate[key.Mailbox]()
	fresh := func() protocol.Capability {
		c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: key.Generate[key.Depositor]().Public(), Letters: 1, KiB: 1, Expires: now + 10}
		if err := wire.SignCapability(box, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	checked := NewCapabilities(64)
	c := fresh()
	for range 2 {
		if err := checked.Check(c, now); err != nil {
			t.Fatal(err)
		}
	}
	more, forged := c, c
	more.Letters++
	forged.Sig = append([]byte{forged.Sig[0] ^ 1}, forged.Sig[1:]...)
	for name, bad := range map[string]protocol.Capability{"for more": more, "another signature": forged} {
		if err := checked.Check(bad, now); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}
	if err := checked.Check(c, c.Expires); !errors.Is(err, fault.Expired) {
		t.Errorf("at its end: %v, want expired", err)
	}
	for i := range 64 - len(checked.ok) {
		checked.ok[protocol.Hash{byte(i), byte(i >> 8), 1}] = now
	}
	if err := checked.Check(fresh(), now); err != nil || len(checked.ok) != 64 {
		t.Errorf("%d are remembered, %v", len(checked.ok), err)
	}
}
