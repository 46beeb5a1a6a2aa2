package dht

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wireName() protocol.ID { return protocol.ID(Protocol(testNet)) }
