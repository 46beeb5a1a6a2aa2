package play

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/lab"
)

// brief is enough of a context to tell it from the others of one run.
func brief(id string) string { return id[:min(len(id), 16)] }

// heardAs makes a record of what a log line says; ok where it is of an announcement.
func heardAs(node, message string, attr func(name string) string) (rec lab.Record, ok bool) {
	if message != keeper.HeardLine {
		return rec, false
	}
	seq, err1 := strconv.ParseUint(attr("seq"), 10, 64)
	shard, err2 := strconv.ParseUint(attr("shard"), 10, 16)
	bytes, err3 := strconv.Atoi(attr("bytes"))
	rec = lab.Record{
		Kind: lab.KindHeard, Node: node, Context: brief(attr("context")), Seq: seq, Shard: uint16(shard), Way: attr("way"), Bytes: bytes,
	}
	return rec, err1 == nil && err2 == nil && err3 == nil && rec.Context != ""
}

// ReadLine reads a line of a node's log, as slog's text handler writes it; ok where it
// says that an announcement was heard.
func ReadLine(node, line string) (at time.Time, rec lab.Record, ok bool) {
	if !strings.Contains(line, keeper.HeardLine) {
		return at, rec, false
	}
	attr := func(name string) string {
		_, rest, _ := strings.Cut(line, " "+name+"=")
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, _, _ := strings.Cut(quoted, `"`)
			return value
		}
		value, _, _ := strings.Cut(rest, " ")
		return value
	}
	first, _, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(first, "time="))
	rec, ok = heardAs(node, attr("msg"), attr)
	return at, rec, ok && err == nil
}

// Listen is the log of a node that is in this process: it hands on that announcements
// were heard, and drops the rest.
func Listen(node string, saw Saw) *slog.Logger { return slog.New(listener{node, saw}) }

type listener struct {
	node string
	saw  Saw
}

// Enabled implements slog.Handler.
func (l listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (l listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message != keeper.HeardLine {
		return nil
	}
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.String(); return true })
	if rec, ok := heardAs(l.node, r.Message, func(name string) string { return attrs[name] }); ok {
		l.saw(r.Time, rec)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (l listener) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l listener) WithGroup(string) slog.Handler { return l }
