// Package pipe is a stream in memory: what a node says to itself, and the streams of a
// simulated network. It has deadlines, bounded buffers and an end, as those of a real
// network have.
package pipe

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how many bytes lie in one direction of a stream before a writer waits.
const pipeBuffer = 256 << 10

// New makes the two ends of a stream, with a bounded buffer in each direction.
func New() (*End, *End) {
	ab, ba := newLane(), newLane()
	return &End{in: ba, out: ab}, &End{in: ab, out: ba}
}

// An End is one side of a stream.
type End struct{ in, out *lane }

// Read implements io.Reader.
func (p *End) Read(b []byte) (int, error) { return p.in.read(b) }

// Write implements io.Writer.
func (p *End) Write(b []byte) (int, error) { return p.out.write(b) }

// Close ends both directions: the other side reads what is there, and then io.EOF.
func (p *End) Close() error {
	p.out.end(io.EOF, false)
	p.in.end(io.ErrClosedPipe, true)
	return nil
}

// Reset ends the stream at once; what was not read is lost.
func (p *End) Reset() error {
	p.out.end(io.ErrUnexpectedEOF, true)
	p.in.end(io.ErrUnexpectedEOF, true)
	return nil
}

// SetReadDeadline is as in net.Conn.
func (p *End) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(&p.in.reader, t)
	return nil
}

// SetWriteDeadline is as in net.Conn.
func (p *End) SetWriteDeadline(t time.Time) error {
	p.out.setDeadline(&p.out.writer, t)
	return nil
}

// SetDeadline is as in net.Conn.
func (p *End) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// A lane is one direction of a stream.
type lane struct {
	mu             sync.Mutex
	change         *sync.Cond
	data           []byte
	ended          error // what a reader gets once data is used up
	reader, writer limit
}

// A limit is one side's deadline.
type limit struct {
	passed bool
	timer  *time.Timer
}

func newLane() *lane {
	l := &lane{}
	l.change = sync.NewCond(&l.mu)
	return l
}

func (l *lane) read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.reader.passed:
			return 0, os.ErrDeadlineExceeded
		case len(l.data) > 0:
			n := copy(b, l.data)
			l.data = l.data[n:]
			l.change.Broadcast()
			return n, nil
		case l.ended != nil:
			return 0, l.ended
		case len(b) == 0:
			return 0, nil
		}
		l.change.Wait()
	}
}

func (l *lane) write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := 0
	for done < len(b) {
		switch room := pipeBuffer - len(l.data); {
		case l.writer.passed:
			return done, os.ErrDeadlineExceeded
		case l.ended != nil:
			return done, io.ErrClosedPipe
		case room > 0:
			n := min(room, len(b)-done)
			l.data = append(l.data, b[done:done+n]...)
			done += n
			l.change.Broadcast()
		default:
			l.change.Wait()
		}
	}
	return done, nil
}

// end closes the lane; the first end counts. drop throws away what was not read.
func (l *lane) end(why error, drop bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = why
	}
	if drop {
		l.data = nil
	}
	l.reader.stop()
	l.writer.stop()
	l.change.Broadcast()
}

func (l *lane) setDeadline(side *limit, t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	side.stop()
	side.passed = false
	if wait := time.Until(t); !t.IsZero() && wait <= 0 {
		side.passed = true
	} else if !t.IsZero() && l.ended == nil {
		var mine *time.Timer
		mine = time.AfterFunc(wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if side.timer == mine { // else a later deadline took its place
				side.passed = true
				l.change.Broadcast()
			}
		})
		side.timer = mine
	}
	l.change.Broadcast()
}

func (s *limit) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
