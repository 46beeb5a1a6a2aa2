package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

const (
	maxEvent  = 1 << 20                // bytes of one line of the stream
	firstWait = 200 * time.Millisecond // before the second try; doubled for each further one
	maxMisses = 6                      // tries in a row that reach nobody
)

// A follower reads one node's event stream, over several connections if need be.
type follower struct {
	c      *Client
	after  uint64
	fn     func(desk.Event) error
	misses int
}

// stopped carries an error that ends the following for good.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

// wait gives a node that went away some time to come back.
func (f *follower) wait(ctx context.Context, err error) error {
	f.misses++
	if f.misses >= maxMisses {
		if err == nil {
			err = ErrNotRunning
		}
		return err
	}
	select {
	case <-time.After(firstWait << (f.misses - 1)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once reads one connection to its end.
func (f *follower) once(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.c.base+root+"/events", nil)
	if err != nil {
		return &stopped{err}
	}
	r.Header.Set("Authorization", "Bearer "+f.c.token)
	r.Header.Set("Accept", "text/event-stream")
	if f.after > 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatUint(f.after, 10))
	}
	resp, err := f.c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", f.c.base, ErrNotRunning)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := problem(resp)
		if errors.Is(err, fault.Full) || errors.Is(err, fault.Offline) {
			return err
		}
		return &stopped{err}
	}
	return f.read(bufio.NewReaderSize(resp.Body, 4096))
}

// read takes the stream apart (WHATWG HTML section 9.2.6, what of it is used here).
func (f *follower) read(r *bufio.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var data []string
	for lines.Scan() {
		line := lines.Text()
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && len(data) > 0:
			if err := f.take(strings.Join(data, "\n")); err != nil {
				return err
			}
			data = nil
		case name == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		}
		if f.misses > 0 {
			f.misses = 0
		}
	}
	return lines.Err()
}

func (f *follower) take(data string) error {
	var e desk.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return &stopped{fmt.Errorf("event after %d: %w: %w", f.after, err, fault.Malformed)}
	}
	if err := f.fn(e); err != nil {
		return &stopped{err}
	}
	f.after = e.ID
	return nil
}
