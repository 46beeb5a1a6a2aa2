package seal

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Bucket sizes in bytes. An observer of a letter learns which of the six it is.
const (
	Bucket1K  = 1 << 10
	Bucket2K  = 2 << 10
	Bucket4K  = 4 << 10
	Bucket8K  = 8 << 10
	Bucket16K = 16 << 10
	Bucket64K = 64 << 10

	// MaxMessage is the longest message, in bytes, that Pad takes.
	MaxMessage = Bucket64K - padHead

	padHead = 4
)

var buckets = [...]int{Bucket1K, Bucket2K, Bucket4K, Bucket8K, Bucket16K, Bucket64K}

// Bucket returns the size, in bytes, of the smallest bucket for a message of n
// bytes; 0 if there is none.
func Bucket(n int) int {
	for _, b := range buckets {
		if n >= 0 && n <= b-padHead {
			return b
		}
	}
	return 0
}

func isBucket(n int) bool { return slices.Contains(buckets[:], n) }

// Pad returns uint32be(len msg)‖msg‖zeros in the smallest bucket of 1, 2, 4, 8, 16
// or 64 KiB. Longer messages than MaxMessage are refused.
func Pad(msg []byte) ([]byte, error) {
	size := Bucket(len(msg))
	if size == 0 {
		return nil, fmt.Errorf("%w: message of %d bytes, at most %d", ErrForm, len(msg), MaxMessage)
	}
	return fill(msg, size), nil
}

// PadTo is Pad where only one bucket will do: it refuses a message whose smallest
// bucket is another one. A larger bucket than needed would be a second spelling of
// the message, which Unpad refuses.
func PadTo(msg []byte, size int) ([]byte, error) {
	if need := Bucket(len(msg)); need != size || need == 0 {
		return nil, fmt.Errorf("%w: message of %d bytes for a bucket of %d holding at most %d", ErrForm, len(msg), size, max(size-padHead, 0))
	}
	return Pad(msg)
}

// PadFull is Pad into one given bucket even where a smaller one would do: for
// messages that are all to look the same.
func PadFull(msg []byte, size int) ([]byte, error) {
	if !isBucket(size) || len(msg) > size-padHead {
		return nil, fmt.Errorf("%w: message of %d bytes for a bucket of %d holding at most %d", ErrForm, len(msg), size, max(size-padHead, 0))
	}
	return fill(msg, size), nil
}

// fill returns uint32be(len msg)‖msg‖zeros in a bucket that it fits.
func fill(msg []byte, size int) []byte {
	out := make([]byte, size)
	binary.BigEndian.PutUint32(out, uint32(len(msg)))
	copy(out[padHead:], msg)
	return out
}

// Unpad returns the message inside, without copying. It accepts only what Pad
// makes: the smallest bucket, and nothing but zeros after the message.
func Unpad(padded []byte) ([]byte, error) {
	msg, err := unfill(padded)
	if err == nil && Bucket(len(msg)) != len(padded) {
		return nil, fmt.Errorf("%w: message of %d bytes in a bucket of %d", ErrForm, len(msg), len(padded))
	}
	return msg, err
}

// UnpadFull returns the message in one given bucket. It accepts only what PadFull
// makes.
func UnpadFull(padded []byte, size int) ([]byte, error) {
	if len(padded) != size {
		return nil, fmt.Errorf("%w: %d bytes are no bucket of %d", ErrForm, len(padded), size)
	}
	return unfill(padded)
}

func unfill(padded []byte) ([]byte, error) {
	if !isBucket(len(padded)) {
		return nil, fmt.Errorf("%w: %d bytes are no bucket", ErrForm, len(padded))
	}
	n := binary.BigEndian.Uint32(padded)
	if int64(n) > int64(len(padded)-padHead) {
		return nil, fmt.Errorf("%w: message of %d bytes in a bucket of %d", ErrForm, n, len(padded))
	}
	end := padHead + int(n)
	for _, b := range padded[end:] {
		if b != 0 {
			return nil, fmt.Errorf("%w: padding is not zero", ErrForm)
		}
	}
	return padded[padHead:end:end], nil
}
