package courier

import (
	"context"
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/outbox"
)

// maxMills bounds the stamps that are worked on at once.
const maxMills = 2

// stampOf names a stamp: it is good for one letter at one keeper.
type stampOf struct {
	item   protocol.Hash
	keeper key.KeeperKey
}

// stamp gives the stamp of a first letter for one keeper, and works on it where that
// was not done before. It ends with ctx. A dear one takes longer than a delivery may:
// so it is called before one begins, and finds what it made once more within it.
func (c *Courier) stamp(ctx context.Context, it outbox.Item, k protocol.Keeper) (protocol.Admission, error) {
	effort := it.First.Stamp.Effort
	if effort == 0 {
		return protocol.Admission{}, nil
	}
	of := stampOf{it.ID, k.Key}
	if s, ok := c.stampKnown(of); ok {
		return s, nil
	}
	select {
	case c.mills <- struct{}{}:
	case <-ctx.Done():
		return protocol.Admission{}, fmt.Errorf("courier: stamp: %w", ctx.Err())
	}
	defer func() { <-c.mills }()
	f := it.First
	err := wire.StampWorking(&f, it.Box, wire.ID(it.Data), k.Key, effort, func(uint64) bool { return ctx.Err() == nil })
	if errors.Is(err, wire.ErrStopped) {
		err = fmt.Errorf("courier: stamp: %w", ctx.Err())
	}
	if err != nil {
		return protocol.Admission{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	makeRoom(c.stamps, of, c.lim.Stamps) // what goes is worked on again, if it is still under way
	c.stamps[of] = f.Stamp
	return f.Stamp, nil
}

func (c *Courier) stampKnown(of stampOf) (protocol.Admission, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.stamps[of]
	return s, ok
}

// forgetStamps drops the stamps of an item that is deposited everywhere, or over.
func (c *Courier) forgetStamps(it outbox.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range it.Keepers {
		delete(c.stamps, stampOf{it.ID, k.Key})
	}
}
