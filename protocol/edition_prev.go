//go:build hark_prev

package protocol

// Edition is that of the step before the present one; see edition.go.
const Edition = -1
