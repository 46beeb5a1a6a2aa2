package keeper_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// Each round: so many callers, each with a stream of its own, and deposits of each.
const (
	callers  = 8
	eachSide = 100
	rounds   = 5
)

// BenchmarkDeposit: x-badger is acknowledged deposits per second at one keeper with 8
// callers (each on a stream: operation read and checked, capability and depositor's
// signature verified, budgets charged, letter synced, receipt signed and written),
// divided by what badger does per second with 8 callers that write the same bytes,
// synced, under random keys of the same length. Rounds alternate on one store, and the
// median of their ratios counts. What a caller does for itself, signing and checking,
// is done before and after: it is another machine's work.
func BenchmarkDeposit(b *testing.B) {
	s, err := kv.Open(filepath.Join(b.TempDir(), "kv"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	net := nodetest.NewNet(context.Background())
	defer net.Close()
	d := newDepositors(b, net, s)
	var ratios, rates []float64
	for b.Loop() {
		for range rounds {
			b.StopTimer()
			ops := d.prepare()
			b.StartTimer()
			ours := together(func(i int) { d.deposit(i, ops[i]) })
			bare := together(func(i int) { d.bare(s, ops[i]) })
			ratios = append(ratios, float64(bare)/float64(ours))
			rates = append(rates, callers*eachSide/ours.Seconds())
		}
	}
	slices.Sort(ratios)
	slices.Sort(rates)
	b.ReportMetric(ratios[len(ratios)/2], "x-badger")
	b.ReportMetric(rates[len(rates)/2], "deposits/s")
}

// together runs one goroutine for each caller and measures until all are done.
func together(work func(i int)) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for i := range callers {
		wg.Go(func() { work(i) })
	}
	wg.Wait()
	return time.Since(start)
}

// depositors are the callers of one keeper.
type depositors struct {
	b      *testing.B
	keeper *nodetest.Port
	ports  []*nodetest.Port
	conns  []peers.Conn
	boxes  []key.Private[key.Mailbox]
	count  uint64
}

func newDepositors(b *testing.B, net *nodetest.Net, s kv.Store) *depositors {
	d := &depositors{b: b, keeper: net.Port(true), conns: make([]peers.Conn, callers)}
	onBoard := must(board.Open(kv.Memory(), shards, board.Limits{}))
	free := keeper.Rate{PerSecond: 1e9, Burst: 1e9}
	k := must(keeper.New(context.Background(), keeper.Config{
		Key: d.keeper.Key(), Duties: protocol.DefaultDuties, Board: onBoard, Port: d.keeper,
		Mail: must(mailbox.Open(s, d.keeper.Key(), mailbox.Policy{
			Letters: 1 << 30, Bytes: 1 << 40, LettersPerBox: 1 << 30, BytesPerBox: 1 << 40,
		})),
		Door:   &check.Door{Net: netID, Shards: shards, Lanes: []protocol.LaneRule{{Lane: protocol.LaneNone}}, Memory: onBoard},
		Limits: keeper.Limits{Prefix: free, Name: free, All: free, Relay: free}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}))
	if err := k.Serve(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = k.Close(context.Background()) })
	for range callers {
		d.ports, d.boxes = append(d.ports, net.Port(false)), append(d.boxes, key.Generate[key.Mailbox]())
	}
	return d
}

// prepare opens a stream for each caller and signs its deposits.
func (d *depositors) prepare() (ops [][]*protocol.Op) {
	for i := range callers {
		if d.conns[i] != nil {
			_ = d.conns[i].Close()
		}
		c := must(d.ports[i].Dial(context.Background(), d.keeper.Self(), peers.ProtoMail))
		hello, _, err := wire.ReadHello(c)
		if err != nil {
			d.b.Fatal(err)
		}
		d.conns[i] = c
		granted, depositor := capability(d.boxes[i])
		granted.Letters, granted.KiB = 65535, 65535
		if err := wire.SignCapability(d.boxes[i], &granted); err != nil {
			d.b.Fatal(err)
		}
		var list []*protocol.Op
		for n := range uint32(eachSide) {
			d.count++
			op := &protocol.Op{N: n + 1, Kind: protocol.OpDeposit, Box: granted.Box, Letter: junk(granted.Box, int(d.count)), Cap: granted}
			if err := wire.SignOp(depositor, op, d.keeper.Key().Public(), hello.Nonce); err != nil {
				d.b.Fatal(err)
			}
			list = append(list, op)
		}
		ops = append(ops, list)
	}
	return ops
}

// deposit leaves one caller's letters, each after the receipt for the one before.
func (d *depositors) deposit(i int, ops []*protocol.Op) {
	for _, op := range ops {
		var r protocol.Reply
		err := wire.WriteFrame(d.conns[i], op)
		if err == nil {
			err = wire.ReadFrame(d.conns[i], &r)
		}
		if err != nil || r.Fault != 0 || r.Receipt.Letter.IsZero() {
			d.b.Errorf("deposit: %+v, %v", r, err)
			return
		}
	}
}

// bare writes the same letters, and as much beside each as a keeper notes of it.
func (d *depositors) bare(s kv.Store, ops []*protocol.Op) {
	meta := make([]byte, 64)
	for _, op := range ops {
		id := wire.ID(op.Letter)
		k := append(append([]byte("x/m/"), id[:]...), op.Box[:]...)
		binary.BigEndian.PutUint64(k[4:], binary.BigEndian.Uint64(id[8:])) // anywhere in the order
		err := s.Update(context.Background(), func(tx kv.Tx) error {
			if err := tx.Put(k, meta); err != nil {
				return err
			}
			l := slices.Clone(k)
			l[2] = 'l'
			return tx.Put(l, op.Letter)
		})
		if err != nil {
			d.b.Error(err)
			return
		}
	}
}
