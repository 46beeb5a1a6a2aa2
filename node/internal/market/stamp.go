package market

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
)

// tellEvery is the least time between two events of the work on one stamp. After a
// while it is a fiftieth of what the work took so far, so that a stamp of a day does
// not drive everything else out of the log of events.
const tellEvery = 300 * time.Millisecond

// stamped signs the next open version of a context, good until then; zero: for its
// usual life. The work on its stamp is done by
// the caller and no turn waits for it: it ends with ctx, or with the market, and
// events tell how it goes.
func (m *Market) stamped(ctx context.Context, c *records.Context, until protocol.Second) (version, error) {
	_, effort := m.lane()
	began := m.cfg.Now()
	told, now := began, protocol.Second(began.Unix())
	v, err := m.announcement(c, protocol.Open, now, cmp.Or(until, now+c.Life), func(tries uint64) bool {
		if now := m.cfg.Now(); tries > 0 && now.Sub(told) >= max(tellEvery, now.Sub(began)/50) {
			told = now
			m.cfg.Events.Emit("stamp.progress", hexOf(c.ID[:]), map[string]string{
				"context": hexOf(c.ID[:]), "tries": fmt.Sprint(tries), "expected": fmt.Sprint(uint64(1) << effort),
			})
		}
		select {
		case <-m.gone:
			return false
		default:
			return ctx.Err() == nil
		}
	})
	if errors.Is(err, wire.ErrStopped) {
		if ctx.Err() != nil {
			return v, fmt.Errorf("the work on the stamp was stopped, nothing was announced: %w", ctx.Err())
		}
		return v, fmt.Errorf("market: stamp: closed: %w", fault.Offline)
	}
	return v, err
}
