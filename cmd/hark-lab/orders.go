package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/harkmarket/hark/cmd/hark-lab/vandal"
	"github.com/harkmarket/hark/node/lab/hostile"
)

// maxOrder bounds a line.
const maxOrder = 64 << 10

// takeOrders floods as it is told, until there is no more to be read; what is under way
// then ends at once.
func takeOrders(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan []byte)
	var reader sync.WaitGroup // it ends with the input, for which nobody waits
	reader.Go(func() {
		defer cancel()
		s := bufio.NewScanner(in)
		s.Buffer(make([]byte, 4096), maxOrder)
		for s.Scan() {
			select {
			case orders <- bytes.Clone(s.Bytes()):
			case <-ctx.Done():
				return
			}
		}
	})
	answers := json.NewEncoder(out)
	for {
		select {
		case <-ctx.Done():
			return nil
		case raw := <-orders:
			err := obey(ctx, raw, answers)
			if err != nil && ctx.Err() == nil {
				err = answers.Encode(hostile.Done{Error: err.Error()})
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// obey carries one order out, and says when it has begun, and what came of it.
func obey(ctx context.Context, raw []byte, answers *json.Encoder) (err error) {
	o, err := readOrder(raw)
	if err != nil {
		return err
	}
	if o.Siege() {
		return besiege(ctx, &o, answers)
	}
	f := &vandal.Force{}
	for _, t := range o.Targets {
		info, err := nearby(t.Addr)
		if err != nil {
			return err
		}
		f.Targets = append(f.Targets, info)
		f.Orders = append(f.Orders, vandal.Order{Topic: t.Topic, Rate: o.Rate, For: time.Duration(o.ForMS) * time.Millisecond})
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for i := range o.Count {
		p, err := place(i, o.Shared)
		if err != nil {
			return err
		}
		f.Peers = append(f.Peers, p)
	}
	if err := f.Join(ctx); err != nil {
		return err
	}
	before := processCPU()
	if err := answers.Encode(hostile.Done{Begun: true}); err != nil {
		return err
	}
	sent, err := f.Flood(ctx, o.Round)
	if err != nil {
		return err
	}
	return answers.Encode(hostile.Done{Sent: int64(sent), CPUMS: (processCPU() - before).Milliseconds()})
}

// readOrder reads one strictly.
func readOrder(raw []byte) (o hostile.Order, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("an order: %w", err)
	}
	if !o.Check() {
		return o, errors.New("an order that is out of bounds")
	}
	return o, nil
}

// besiege lays a siege to the first target.
func besiege(ctx context.Context, o *hostile.Order, answers *json.Encoder) (err error) {
	s := &vandal.Siege{Protocols: o.Protocols, Streams: o.Streams}
	if s.Target, err = nearby(o.Targets[0].Addr); err != nil {
		return err
	}
	defer func() {
		for _, p := range slices.Concat(s.Hosts, s.Crowd) {
			err = errors.Join(err, p.Close())
		}
	}()
	for i := range o.Count + o.Crowd {
		p, err := place(min(i, o.Count), false) // the crowd has one address
		if err != nil {
			return err
		}
		if i < o.Count {
			s.Hosts = append(s.Hosts, p)
		} else {
			s.Crowd = append(s.Crowd, p)
		}
	}
	before := processCPU()
	if err := answers.Encode(hostile.Done{Begun: true}); err != nil {
		return err
	}
	toll := s.Lay(ctx, time.Duration(o.ForMS)*time.Millisecond)
	return answers.Encode(hostile.Done{Sent: toll.Begun, Most: toll.Most, LetIn: toll.LetIn, CPUMS: (processCPU() - before).Milliseconds()})
}

// nearby reads where a target is. It must be on this machine: nobody else is flooded.
func nearby(text string) (info peer.AddrInfo, err error) {
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		return info, fmt.Errorf("a target: %w", err)
	}
	if !manet.IsIPLoopback(a) {
		return info, fmt.Errorf("%s is not on this machine", text)
	}
	to, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil {
		return info, fmt.Errorf("a target: %w", err)
	}
	return *to, nil
}

// place makes the peer of a number: at the address that honest nodes on this machine
// have, or in a /24 of its own, so that these are not taken for it. Not every system has such
// addresses.
func place(i int, shared bool) (*vandal.Peer, error) {
	if shared {
		return vandal.Open(libp2p.NoListenAddrs)
	}
	return vandal.Open(libp2p.NoListenAddrs, vandal.At(net.IPv4(127, byte(1+i/250), byte(1+i%250), 1)))
}
