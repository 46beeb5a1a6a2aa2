package keeper_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
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
// The first round warms up.
const (
	callers  = 8
	eachSide = 25
	rounds   = 31
)

// BenchmarkDeposit: x-badger is acknowledged deposits per second at one keeper with 8
// callers (each on a stream: operation read and checked, capability and depositor's
// signature verified, budgets charged, letter synced, receipt signed and written),
// divided by what badger does per second with 8 callers that write the same bytes,
// synced, under random keys of the same length. All take turns on one store in small
// rounds, who is first by turns too, and the median of the ratios round by round counts;
// x-mean is the ratio of all the time spent. What a caller does for itself, signing and
// checking, is done before and after: it is another machine's work.
//
// The floor of a deposit is one signature verified, one signed, and its share of a sync:
// badger syncs once for each transaction, and a keeper's callers share transactions.
// syncs is how many there were for each deposit, and x-shared the ratio to callers that
// write the same and share transactions likewise.
func BenchmarkDeposit(b *testing.B) {
	disk, err := kv.Open(filepath.Join(b.TempDir(), "kv"))
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	s := &synced{Store: disk}
	net := nodetest.NewNet(context.Background())
	defer net.Close()
	d := newDepositors(b, net, s)
	group := kv.NewGroup(disk)
	alone := func(ctx context.Context, _ int, fn func(kv.Tx) error) error { return disk.Update(ctx, fn) }
	var ours, bare, shared []float64
	for b.Loop() { //nolint:revive // the rounds are counted below
	}
	for n := range rounds + 1 {
		ops, took := d.prepare(), [3]float64{}
		ways := []func(i int){
			func(i int) { d.deposit(i, ops[i]) }, func(i int) { d.bare(alone, ops[i]) }, func(i int) { d.bare(group.Update, ops[i]) },
		}
		for i := range ways {
			way := (n + i) % len(ways)
			took[way] = together(ways[way]).Seconds()
		}
		if n > 0 {
			ours, bare, shared = append(ours, took[0]), append(bare, took[1]), append(shared, took[2])
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratio(bare, ours), "x-badger")
	b.ReportMetric(ratio(shared, ours), "x-shared")
	b.ReportMetric(sum(bare)/sum(ours), "x-mean")
	b.ReportMetric(callers*eachSide*rounds/sum(ours), "deposits/s")
	b.ReportMetric(float64(s.updates.Load())/(callers*eachSide*(rounds+1)), "syncs")
}

// ratio is the median of the ratios round by round.
func ratio(a, b []float64) float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func sum(all []float64) (s float64) {
	for _, x := range all {
		s += x
	}
	return s
}

// synced counts transactions: each is one sync.
type synced struct {
	kv.Store
	updates atomic.Int64
}

func (s *synced) Update(ctx context.Context, fn func(kv.Tx) error) error {
	s.updates.Add(1)
	return s.Store.Update(ctx, fn)
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
func (d *depositors) bare(update func(context.Context, int, func(kv.Tx) error) error, ops []*protocol.Op) {
	meta := make([]byte, 64)
	for _, op := range ops {
		id := wire.ID(op.Letter)
		k := append(append([]byte("x/m/"), id[:]...), op.Box[:]...)
		binary.BigEndian.PutUint64(k[4:], binary.BigEndian.Uint64(id[8:])) // anywhere in the order
		err := update(context.Background(), len(op.Letter)+256, func(tx kv.Tx) error {
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
