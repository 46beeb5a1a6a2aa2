package nodetest

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

// A Circle is a set of outsiders that are all that some members gossip with: they are
// surrounded. Whomever these know, they reach all the same, to pull and to be pulled from.
type Circle struct {
	mu sync.Mutex
	of map[peer.ID]bool
}

// Add takes an outsider in.
func (c *Circle) Add(o *Outsider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[peer.ID]bool{}
	}
	c.of[o.ID()] = true
}

func (c *Circle) has(id peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[id]
}

// Later gives a public node a place in a simulated world, and does not start it. Its
// market stays shut where it is a carrier. It may be surrounded.
func (w *World) Later(name string, carrier bool, by *Circle) *Member {
	m := &Member{Name: name, public: true, locked: carrier, circle: by}
	w.enter(m)
	return m
}

// ID is what others know the outsider by.
func (o *Outsider) ID() peer.ID { return o.gossip.Libp2p().ID() }

// AnswerSync lets an outsider answer /hark/sync/1 as it likes.
func (o *Outsider) AnswerSync(answer Answer) error {
	net, err := o.w.ID()
	if err != nil {
		return err
	}
	o.gossip.Serve(peers.ProtoSync, syncing(net, answer))
	return nil
}

// A Shelf holds announcements that outsiders show to those who pull.
type Shelf struct{ board *board.Board }

// Shelf makes an empty one.
func (w *World) Shelf() (*Shelf, error) {
	b, err := board.Open(kv.Memory(), w.Genesis.Shards, board.Limits{})
	return &Shelf{b}, err
}

// Put puts an announcement on it.
func (s *Shelf) Put(h wire.Heard) error {
	_, err := s.board.Put(context.Background(), h, time.Now().UnixMilli())
	return err
}

// Answer answers from it as a good node would.
func (s *Shelf) Answer() Answer { return Honest(s.board) }
