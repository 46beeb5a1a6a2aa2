package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/mischief"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/mailbox"
)

// Bounds of subscriptions.
const (
	window       = 16  // letters of one box pushed on one stream and not deleted yet
	maxFollowed  = 256 // boxes on one stream
	pushEachTime = 4   // letters of one box before the next has its turn
)

// A feed pushes the letters of the boxes that one stream subscribed to.
type feed struct {
	s     *stream
	wake  chan struct{}
	ended chan struct{}
	mu    sync.Mutex
	boxes map[key.MailboxKey]*followed
}

// followed is one box on a feed.
type followed struct {
	after  protocol.Hash          // the last letter pushed
	out    map[protocol.Hash]bool // pushed, and not deleted since
	news   bool                   // there may be something to push
	cancel func()                 // of the watch
	pushed bool                   // anything, or found nothing to push
}

// feeds are all streams with subscriptions.
type feeds struct {
	mail     *mailbox.Mailboxes
	mischief *mischief.Mischief
	work     *crew.Crew
	log      *slog.Logger
	now      func() protocol.Second
	mu       sync.Mutex
	of       map[key.MailboxKey][]*feed
}

// subscribe adds a box to the stream's feed and starts the feed with the first one.
func (all *feeds) subscribe(s *stream, box key.MailboxKey) error {
	if s.feed == nil {
		f := &feed{s: s, wake: make(chan struct{}, 1), ended: make(chan struct{}), boxes: map[key.MailboxKey]*followed{}}
		if err := all.work.Hire("mail push", func(ctx context.Context) { all.push(ctx, f) }); err != nil {
			return err
		}
		s.feed = f
	}
	return all.follow(s.feed, box)
}

func (all *feeds) follow(f *feed, box key.MailboxKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boxes[box] != nil {
		return nil
	}
	if len(f.boxes) >= maxFollowed {
		return fmt.Errorf("keeper: %d boxes on one stream: %w", len(f.boxes), fault.Full)
	}
	cancel, err := all.mail.Watch(box, func() { f.news(box, nil) })
	if err != nil {
		return err
	}
	f.boxes[box] = &followed{out: map[protocol.Hash]bool{}, news: true, cancel: cancel}
	all.mu.Lock()
	all.of[box] = append(all.of[box], f)
	all.mu.Unlock()
	wake(f.wake)
	return nil
}

// news says that a box has something new, or room for it because letters are gone.
func (f *feed) news(box key.MailboxKey, gone []protocol.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.boxes[box]; b != nil {
		for _, h := range gone {
			delete(b.out, h)
		}
		b.news = true
		wake(f.wake)
	}
}

// dealtWith tells the feeds of a box that its owner deleted letters.
func (all *feeds) dealtWith(box key.MailboxKey, gone []protocol.Hash) {
	all.mu.Lock()
	feeds := slices.Clone(all.of[box])
	all.mu.Unlock()
	for _, f := range feeds {
		f.news(box, gone)
	}
}

// end takes a feed out of everything. The stream has ended.
func (all *feeds) end(f *feed) {
	if f == nil {
		return
	}
	f.mu.Lock()
	boxes := f.boxes
	f.boxes = map[key.MailboxKey]*followed{}
	f.mu.Unlock()
	close(f.ended)
	for box, b := range boxes {
		b.cancel()
		all.mu.Lock()
		all.of[box] = slices.DeleteFunc(all.of[box], func(other *feed) bool { return other == f })
		if len(all.of[box]) == 0 {
			delete(all.of, box)
		}
		all.mu.Unlock()
	}
}

// push is the second goroutine of a stream with subscriptions.
func (all *feeds) push(ctx context.Context, f *feed) {
	ping := time.NewTicker(client.PingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.ended:
			return
		case <-ping.C:
			if f.s.write(&protocol.Reply{}) != nil {
				_ = f.s.c.Reset() // the reader finds out
				return
			}
		case <-f.wake:
			if err := all.pushAll(ctx, f); err != nil {
				all.log.Debug("a subscription ended", "why", err)
				_ = f.s.c.Reset() // the subscriber comes again
				return
			}
		}
	}
}

// pushAll pushes from each box with news, a few letters each in turn.
func (all *feeds) pushAll(ctx context.Context, f *feed) error {
	for {
		box, after, room := f.next()
		if room == 0 {
			return nil
		}
		letters, more, err := all.mail.Collect(ctx, box, after, min(room, pushEachTime), all.now())
		if err != nil {
			return err
		}
		first := f.sent(box, letters, more)
		if letters = all.mischief.Given(box, letters, first); len(letters) == 0 {
			continue
		}
		if err := f.s.write(&protocol.Reply{Box: box, Letters: letters}); err != nil {
			return err
		}
	}
}

// next picks a box with news and room in its window.
func (f *feed) next() (box key.MailboxKey, after protocol.Hash, room int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for box, b := range f.boxes {
		if b.news && len(b.out) < window {
			b.news = false
			return box, b.after, window - len(b.out)
		}
	}
	return key.MailboxKey{}, protocol.Hash{}, 0
}

// sent notes letters as pushed, and tells whether the box was looked at for the first
// time on this stream.
func (f *feed) sent(box key.MailboxKey, letters [][]byte, more bool) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.boxes[box]
	if b == nil {
		return false
	}
	first, b.pushed = !b.pushed, true
	for _, raw := range letters {
		b.after = wire.ID(raw)
		b.out[b.after] = true
	}
	b.news = b.news || more
	return first
}
