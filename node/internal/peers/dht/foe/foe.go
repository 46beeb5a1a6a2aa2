// Package foe plays hostile nodes of the DHT on a simulated network, for experiments; no
// program that people run carries it. It speaks the protocol by itself, since the
// library would keep to the rules.
//
//  1. A Ring are Sybils that know each other alone. Add lets a host answer as one of
//     them: for every question it names the nearest of its fellows, it takes records
//     with thanks and keeps none, and says that it has nothing, or tells a lie.
//  2. A Flooder puts records and provider records at one node, as fast as it is let.
package foe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/proto"

	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of what is read and said.
const (
	maxMessage = 128 << 10
	maxTalk    = 1 << 16 // messages of one stream
	named      = 20      // fellows in an answer
	patience   = 10 * time.Second
)

// Distance is how far a node is from a key of the DHT.
func Distance(id peer.ID, key string) (out [32]byte) {
	a, b := sha256.Sum256([]byte(id)), sha256.Sum256([]byte(key))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// A Ring are Sybils. They may be added while others ask.
type Ring struct {
	mu    sync.Mutex
	all   []peer.AddrInfo
	asked map[string]int // by kind of message
}

// Add lets a host answer as one of the ring; where lies, what it has is junk.
func (r *Ring) Add(h *peers.Host, net protocol.Hash, lies bool) {
	info := address.Info(h.Self())
	r.mu.Lock()
	r.all = append(r.all, info)
	r.mu.Unlock()
	h.Libp2p().SetStreamHandler(wireproto.ID(dht.Protocol(net)), func(s network.Stream) {
		in := bufio.NewReader(s)
		for range maxTalk {
			m, err := read(in)
			if err != nil {
				break
			}
			if a := r.answer(m, lies); a != nil && write(s, a) != nil {
				break
			}
		}
		_ = s.Reset() // it has said what it had to
	})
}

// answer is what one says, nil where nothing is expected.
func (r *Ring) answer(m *pb.Message, lies bool) *pb.Message {
	r.count(m.GetType().String())
	out := pb.NewMessage(m.GetType(), m.GetKey(), m.GetClusterLevel())
	switch m.GetType() {
	case pb.Message_ADD_PROVIDER:
		return nil
	case pb.Message_PUT_VALUE:
		out.Record = m.GetRecord()
	case pb.Message_GET_VALUE:
		if lies {
			out.Record = record.MakePutRecord(string(m.GetKey()), []byte("a lie"))
		}
		fallthrough
	case pb.Message_FIND_NODE, pb.Message_GET_PROVIDERS:
		out.CloserPeers = pb.RawPeerInfosToPBPeers(r.nearest(string(m.GetKey())))
	}
	return out
}

func (r *Ring) count(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	if len(r.asked) < 32 || r.asked[kind] > 0 {
		r.asked[kind]++
	}
}

// Asked is how many messages of a kind, by its name in the protocol, came to the ring.
func (r *Ring) Asked(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[kind]
}

// nearest are the fellows nearest to a key.
func (r *Ring) nearest(key string) []peer.AddrInfo {
	r.mu.Lock()
	all := slices.Clone(r.all)
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b peer.AddrInfo) int {
		x, y := Distance(a.ID, key), Distance(b.ID, key)
		return bytes.Compare(x[:], y[:])
	})
	return all[:min(named, len(all))]
}

// A Flooder talks to one node. Make it with Reach; it is for one goroutine.
type Flooder struct {
	h    *peers.Host
	net  protocol.Hash
	self peer.AddrInfo
	to   peer.ID
	s    network.Stream // nil: the node ended it
	in   *bufio.Reader
}

// Reach connects a host with a node of the DHT.
func Reach(ctx context.Context, h *peers.Host, net protocol.Hash, to protocol.Keeper) (*Flooder, error) {
	info := address.Info(to)
	if err := h.Libp2p().Connect(ctx, info); err != nil {
		return nil, fmt.Errorf("foe: %w", errors.Join(err, fault.Offline))
	}
	return &Flooder{h: h, net: net, self: address.Info(h.Self()), to: info.ID}, nil
}

// Put puts a record there, over a new stream where the last was ended for being too
// much, and tells whether it was taken.
func (f *Flooder) Put(ctx context.Context, key string, value []byte) error {
	m := pb.NewMessage(pb.Message_PUT_VALUE, []byte(key), 0)
	m.Record = record.MakePutRecord(key, value)
	err := f.say(ctx, m)
	if err == nil {
		_, err = read(f.in)
	}
	if err != nil {
		f.Close()
	}
	return err
}

// Provide says there that the flooder has what is at a place. No answer comes.
func (f *Flooder) Provide(ctx context.Context, at cid.Cid) error {
	m := pb.NewMessage(pb.Message_ADD_PROVIDER, at.Hash(), 0)
	m.ProviderPeers = pb.RawPeerInfosToPBPeers([]peer.AddrInfo{f.self})
	return f.say(ctx, m)
}

func (f *Flooder) say(ctx context.Context, m *pb.Message) (err error) {
	if f.s == nil {
		if f.s, err = f.h.Libp2p().NewStream(ctx, f.to, wireproto.ID(dht.Protocol(f.net))); err != nil {
			f.s = nil
			return fmt.Errorf("foe: %w", errors.Join(err, fault.Offline))
		}
		f.in = bufio.NewReader(f.s)
	}
	if err := f.s.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return write(f.s, m)
}

// Close ends the talk.
func (f *Flooder) Close() {
	if f.s != nil {
		_ = f.s.Reset()
	}
	f.s = nil
}

// Somewhere is a place of provider records at which nobody looks.
func Somewhere(what string) cid.Cid {
	h := sha256.Sum256([]byte(what))
	m, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil {
		panic("foe: " + err.Error()) // only for unknown hashes
	}
	return cid.NewCidV1(cid.Raw, m)
}

// read reads a message behind its length.
func read(in *bufio.Reader) (*pb.Message, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	if n > maxMessage {
		return nil, fmt.Errorf("foe: a message of %d bytes: %w", n, fault.Malformed)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(in, raw); err != nil {
		return nil, err
	}
	m := new(pb.Message)
	return m, proto.Unmarshal(raw, m)
}

func write(out io.Writer, m *pb.Message) error {
	raw, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = out.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
	return err
}
