package pipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestAStreamInMemory(t *testing.T) {
	a, b := New()
	big := bytes.Repeat([]byte("0123456789"), 100_000) // more than the buffer
	got := make(chan []byte)
	go func() {
		raw, err := io.ReadAll(b)
		if err != nil {
			t.Error(err)
		}
		got <- raw
	}()
	if n, err := a.Write(big); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, big) {
		t.Error("bytes were lost")
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a closed end: %v", err)
	}
	c, d := New()
	if err := c.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var late net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("read after the deadline: %v", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &late) {
		t.Errorf("read until the deadline: %v", err)
	}
	if err := d.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Write(big); n != pipeBuffer || !errors.As(err, &late) {
		t.Errorf("write into a full pipe: %d, %v", n, err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("read after the deadline was lifted: %d, %v", n, err)
	}
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read from a reset stream")
	}
}
