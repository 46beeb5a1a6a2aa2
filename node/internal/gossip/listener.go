package gossip

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A listener is a pubsub.RawTracer that takes no interest in what it is told. What embeds
// it has a method of its own for what it cares for.
type listener struct{}

func (listener) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (listener) OnClosedOutboundStream(peer.ID)                       {}
func (listener) Join(string)                                          {}
func (listener) Leave(string)                                         {}
func (listener) Graft(peer.ID, string)                                {}
func (listener) Prune(peer.ID, string)                                {}
func (listener) ValidateMessage(*pubsub.Message)                      {}
func (listener) DeliverMessage(*pubsub.Message)                       {}
func (listener) RejectMessage(*pubsub.Message, string)                {}
func (listener) DuplicateMessage(*pubsub.Message)                     {}
func (listener) ThrottlePeer(peer.ID)                                 {}
func (listener) RecvRPC(*pubsub.RPC)                                  {}
func (listener) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (listener) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (listener) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (listener) UndeliverableMessage(*pubsub.Message)                 {}
