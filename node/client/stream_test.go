package client

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node/desk"
)

// FuzzStream feeds the reader whatever a server might send: it never panics, hands on
// whole events only, and remembers the last of them.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"", "\n\n", "data: {\"id\":3,\"kind\":\"x\"}\n\n", "id: 1\nevent: x\ndata:{\"id\":1}\n\n: c\n\ndata: {\"id\":2}\n\n",
		"data: {\"id\":\ndata: 4}\n\n", "data: {\"id\":5}", "data: no\n\n", "data: {\"id\":-1}\n\n", "retry: 1\r\ndata: {}\r\n\r\n", ":::\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		last := uint64(0)
		fo := &follower{fn: func(e desk.Event) error { last = e.ID; return nil }}
		err := fo.read(bufio.NewReader(strings.NewReader(text)))
		if fo.after != last {
			t.Fatalf("after = %d, the last event was %d", fo.after, last)
		}
		if _, ok := errors.AsType[*stopped](err); err != nil && !ok && !errors.Is(err, bufio.ErrTooLong) {
			t.Fatalf("read = %v", err)
		}
	})
}
