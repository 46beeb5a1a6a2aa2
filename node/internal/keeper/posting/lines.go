package posting

import (
	"context"
	"errors"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
)

// maxLines usually bounds the open sessions to next hops.
const maxLines = 64

// lines are sessions to next hops that stay open until the other side ends them for
// their silence: to open one costs more than a post.
type lines struct {
	most int
	mu   sync.Mutex
	of   map[key.KeeperKey]*client.Session
}

func newLines(most int) *lines {
	return &lines{most: most, of: map[key.KeeperKey]*client.Session{}}
}

// talk has a conversation on the open session, if there is one, and on a fresh one
// where that had ended.
func (l *lines) talk(next key.KeeperKey, dial func() (*client.Session, error), do func(*client.Session) error) error {
	l.mu.Lock()
	s := l.of[next]
	l.mu.Unlock()
	if s != nil {
		err := do(s)
		if err == nil || answered(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		l.drop(next, s)
	}
	s, err := dial()
	if err != nil {
		return err
	}
	if err = do(s); err != nil && !answered(err) {
		_ = s.Close() // it failed already
		return err
	}
	l.keep(next, s)
	return err
}

// answered tells that a session is good for more: the other side said no.
func answered(err error) bool {
	var r *client.Refused
	return errors.As(err, &r)
}

// keep leaves a session open for the next post, unless there is one; a full table
// closes any other.
func (l *lines) keep(next key.KeeperKey, s *client.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[next] != nil {
		_ = s.Close() // another was faster
		return
	}
	if len(l.of) >= l.most {
		for other, old := range l.of {
			_ = old.Close() // whoever speaks on it opens another
			delete(l.of, other)
			break
		}
	}
	l.of[next] = s
}

func (l *lines) drop(next key.KeeperKey, s *client.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[next] == s {
		delete(l.of, next)
	}
	_ = s.Close() // it failed already
}

func (l *lines) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of)
}
