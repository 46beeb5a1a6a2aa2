//go:build !unix

package attack

import (
	"testing"
	"time"
)

// cpu is not told here.
func cpu(*testing.T) time.Duration { return 0 }
