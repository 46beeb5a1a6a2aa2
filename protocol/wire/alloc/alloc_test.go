package alloc

import "testing"

var kept []byte

func TestOver(t *testing.T) {
	wasteful := func() { kept = make([]byte, 1<<20) }
	if got, over := Over(Most(1000), wasteful); !over || got < 1<<20 {
		t.Errorf("a mebibyte for 1,000 bytes is %d, and within its bound", got)
	}
	if got, over := Over(2<<20, wasteful); over {
		t.Errorf("a mebibyte is %d, over two", got)
	}
}
