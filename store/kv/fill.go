package kv

// A Fill is one bound of a store and how much of it is used, in items or bytes.
// Every bounded thing of a node shows its fill in hark status, so that nobody has
// to guess what is full.
type Fill struct {
	Name      string
	Used, Cap int64
}
