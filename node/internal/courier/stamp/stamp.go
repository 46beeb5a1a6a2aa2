// Package stamp works on the stamps of first letters: a few at once, each once for
// each keeper, however often its letter is tried.
package stamp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/courier/memory"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/outbox"
)

// maxMills bounds the stamps that are worked on at once.
const maxMills = 2

// stampOf names a stamp: it is good for one letter at one keeper.
type stampOf struct {
	item   protocol.Hash
	keeper key.KeeperKey
}

// A Mill works on stamps and remembers them. Make it with New.
type Mill struct {
	most   int           // that are remembered, so that another try costs nothing
	mills  chan struct{} // who works on a stamp puts a token in
	mu     sync.Mutex
	stamps map[stampOf]protocol.Admission
}

// New makes a Mill that remembers nothing yet, and at most so many stamps.
func New(most int) *Mill {
	return &Mill{most: most, mills: make(chan struct{}, maxMills), stamps: map[stampOf]protocol.Admission{}}
}

// Fill is how many stamps are remembered.
func (m *Mill) Fill() kv.Fill {
	m.mu.Lock()
	defer m.mu.Unlock()
	return kv.Fill{Name: "courier.stamps", Used: int64(len(m.stamps)), Cap: int64(m.most)}
}

// Stamp gives the stamp of a first letter for one keeper, and works on it where that
// was not done before. It ends with ctx. A dear one takes longer than a delivery may:
// so it is called before one begins, and finds what it made once more within it.
func (m *Mill) Stamp(ctx context.Context, it outbox.Item, k protocol.Keeper) (protocol.Admission, error) {
	effort := it.First.Stamp.Effort
	if effort == 0 {
		return protocol.Admission{}, nil
	}
	of := stampOf{it.ID, k.Key}
	if s, ok := m.known(of); ok {
		return s, nil
	}
	select {
	case m.mills <- struct{}{}:
	case <-ctx.Done():
		return protocol.Admission{}, fmt.Errorf("courier: stamp: %w", ctx.Err())
	}
	defer func() { <-m.mills }()
	f := it.First
	err := wire.StampWorking(&f, it.Box, wire.ID(it.Data), k.Key, effort, func(uint64) bool { return ctx.Err() == nil })
	if errors.Is(err, wire.ErrStopped) {
		err = fmt.Errorf("courier: stamp: %w", ctx.Err())
	}
	if err != nil {
		return protocol.Admission{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	memory.MakeRoom(m.stamps, of, m.most) // what goes is worked on again, if it is still under way
	m.stamps[of] = f.Stamp
	return f.Stamp, nil
}

func (m *Mill) known(of stampOf) (protocol.Admission, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.stamps[of]
	return s, ok
}

// Forget drops the stamps of an item that is deposited everywhere, or over.
func (m *Mill) Forget(it outbox.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range it.Keepers {
		delete(m.stamps, stampOf{it.ID, k.Key})
	}
}
