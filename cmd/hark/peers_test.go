package main

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestNetcheckEndsAsItAnswered: a node that does not know yet is not told that the
// network can't be used, and neither end is an error of the program's own.
func TestNetcheckEndsAsItAnswered(t *testing.T) {
	for answer, want := range map[string]error{desk.NotKnown: errTooEarly, desk.No: errUnusable} {
		err := verdict(desk.Netcheck{Checks: []desk.Check{{Name: "public-node", Answer: answer}, {Name: "quic", Answer: desk.NotKnown}}})
		if !errors.Is(err, want) || fault.Of(err) != fault.Offline || complain(err).Code != "offline" {
			t.Errorf("%s: %v, %+v", answer, err, complain(err))
		}
	}
	if err := verdict(desk.Netcheck{Usable: true, Checks: []desk.Check{{Name: "public-node", Answer: desk.Yes}}}); err != nil {
		t.Error(err)
	}
}
