//go:build hark_next

package protocol

// Edition is that of a step to come; see edition.go.
const Edition = 1
