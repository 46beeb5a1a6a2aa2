package carrier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/carrier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

var netID = protocol.Hash{7}

// A street is a vendor that fetches one large value, and the keepers that have it.
type street struct {
	store kv.Store
	held  *held.Held
	blob  held.Blob
	grant protocol.GrantID
	value []byte
	parts [][]byte

	mu   sync.Mutex
	left []records.Parcel
	said []error
}

func newStreet(t *testing.T, size int) *street {
	t.Helper()
	s := &street{store: kv.Memory(), held: held.New(), grant: protocol.GrantID{1}, value: bytes.Repeat([]byte("scan"), size/4)}
	k, sum := key.NewSecret(), sha256.New()
	all := slices.Collect(slices.Chunk(s.value, seal.ChunkSize))
	for i, c := range all {
		s.parts = append(s.parts, seal.SealCopy(k, uint64(i), i+1 == len(all), c))
		sum.Write(s.parts[i])
	}
	s.blob = held.Blob{Name: "document.identity", Version: 1, Size: uint32(len(s.value)), Digest: protocol.Hash(sum.Sum(nil)), Key: protocol.Share(k)}
	return s
}

// begin holds the value's record, from which it is fetched.
func (s *street) begin(t *testing.T) {
	t.Helper()
	s.left = []records.Parcel{{Grant: s.grant, ID: s.blob.Digest, Fetch: true}}
	if err := s.store.Update(t.Context(), func(tx kv.Tx) error {
		return s.held.Put(tx, held.Record{Grant: s.grant, Blobs: []held.Blob{s.blob}})
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *street) Parcels(_ context.Context, fn func(records.Parcel) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.left {
		if !fn(p) {
			break
		}
	}
	return nil
}

func (s *street) Copy(context.Context, records.Parcel) (records.Copy, vault.Large, error) {
	return records.Copy{}, vault.Large{}, fault.NotFound
}

func (s *street) Measured(context.Context, records.Parcel, protocol.Hash) error { return nil }

func (s *street) Fetching(ctx context.Context, _ records.Parcel) (b held.Blob, box key.MailboxKey, err error) {
	err = s.store.View(ctx, func(r kv.Reader) error {
		rec, err := s.held.Get(r, s.grant)
		if err == nil {
			b = rec.Blobs[0]
		}
		return err
	})
	return b, key.Generate[key.Mailbox]().Public(), err
}

func (s *street) Carried(_ context.Context, p records.Parcel, _ records.CopyState, _ []protocol.Keeper, failed error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, failed)
	s.left = slices.DeleteFunc(s.left, func(x records.Parcel) bool { return x.ID == p.ID })
	if failed != nil {
		p.NextMS = time.Now().Add(time.Minute).UnixMilli()
		p.Tries++
		s.left = append(s.left, p)
	}
	return nil
}

// serve answers gets with what give makes of each chunk; nil ends the stream.
func (s *street) serve(p *nodetest.Port, give func(i uint32, chunk []byte) []byte) protocol.Keeper {
	p.Serve(peers.ProtoBlob, func(_ context.Context, c peers.Conn, _ string) {
		if wire.WriteHello(c, protocol.Hello{V: protocol.Version, Nonce: wire.NewID(), Net: netID}, wire.Aside{}) != nil {
			return
		}
		for {
			var op protocol.Op
			if wire.ReadFrame(c, &op) != nil {
				return
			}
			reply := protocol.Reply{N: op.N, Fault: uint8(fault.NotFound) + 1}
			if op.Kind == protocol.OpBlobGet && op.Blob.Digest == s.blob.Digest && op.Blob.Token == large.Token(s.blob.Key.Secret()) {
				chunk := give(op.Blob.Index, bytes.Clone(s.parts[op.Blob.Index]))
				if chunk == nil {
					_ = c.Reset()
					return
				}
				reply = protocol.Reply{N: op.N, Blob: protocol.BlobReply{Chunk: chunk}}
			}
			if wire.WriteFrame(c, &reply) != nil {
				return
			}
		}
	})
	return p.Self()
}

// run lets a carrier work for so long.
func (s *street) run(t *testing.T, net *nodetest.Net, long time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	work := crew.New(ctx, carrier.Most+1, nil)
	c := carrier.New(carrier.Config{
		Client: keeper.Client{Port: net.Port(false), Net: netID}, Market: s, KV: s.store, Held: s.held, Crew: work, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err := work.Hire("carrier", c.Run); err != nil {
		t.Fatal(err)
	}
	time.Sleep(long)
	cancel()
	if err := work.Dismiss(context.Background()); err != nil {
		t.Error(err)
	}
}

func whole(_ uint32, chunk []byte) []byte { return chunk }

// TestFetch: of three keepers one alters chunks, one breaks off, one is honest: the value
// comes, each chunk once, and nothing of the liar's is kept.
func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodetest.NewNet(t.Context())
		s := newStreet(t, 12*seal.ChunkSize+4)
		liar := s.serve(net.Port(true), func(i uint32, chunk []byte) []byte {
			if i == 9 {
				chunk[5] ^= 1
			}
			return chunk
		})
		short := s.serve(net.Port(true), func(i uint32, chunk []byte) []byte {
			if i > 9 {
				return nil
			}
			return chunk
		})
		asked := map[uint32]int{}
		honest := s.serve(net.Port(true), func(i uint32, chunk []byte) []byte { asked[i]++; return chunk })
		s.blob.Keepers = []protocol.Keeper{liar, short, honest}
		s.begin(t)
		s.run(t, net, 10*time.Second)
		var got bytes.Buffer
		if err := s.held.Read(t.Context(), s.store, s.grant, s.blob.Name, &got); err != nil || !bytes.Equal(got.Bytes(), s.value) {
			t.Errorf("%d bytes of %d, %v; %v", got.Len(), len(s.value), err, s.said)
		}
		if len(s.said) != 1 || s.said[0] != nil || asked[0] != 0 || asked[9] != 1 {
			t.Errorf("it says %v; the honest keeper was asked for %v", s.said, asked)
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFetchOfALie: no keeper has anything that opens.
func TestFetchOfALie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodetest.NewNet(t.Context())
		s := newStreet(t, seal.ChunkSize)
		s.blob.Keepers = []protocol.Keeper{
			s.serve(net.Port(true), func(_ uint32, chunk []byte) []byte { return chunk[1:] }),
			s.serve(net.Port(true), func(uint32, []byte) []byte { return []byte{1} }),
		}
		s.begin(t)
		s.run(t, net, 10*time.Second)
		if len(s.said) != 1 || !errors.Is(s.said[0], fault.Offline) {
			t.Errorf("it says %v", s.said)
		}
		if b, _, err := s.Fetching(t.Context(), records.Parcel{}); err != nil || b.Got != 0 {
			t.Errorf("%d chunks are kept, %v", b.Got, err)
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFetchOfWhatIsGone ends once it is not held any more.
func TestFetchOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodetest.NewNet(t.Context())
		s := newStreet(t, 20*seal.ChunkSize)
		s.blob.Keepers = []protocol.Keeper{s.serve(net.Port(true), func(i uint32, chunk []byte) []byte {
			if i == 10 { // it is revoked meanwhile
				if err := s.store.Update(t.Context(), func(tx kv.Tx) error { _, err := s.held.Delete(tx, s.grant); return err }); err != nil {
					t.Error(err)
				}
			}
			return whole(i, chunk)
		})}
		s.begin(t)
		s.run(t, net, 10*time.Second)
		if len(s.said) != 1 || !errors.Is(s.said[0], fault.Expired) {
			t.Errorf("it says %v", s.said)
		}
		err := s.store.View(t.Context(), func(r kv.Reader) error {
			return r.Scan([]byte("h/"), nil, func(k, _ []byte) (bool, error) {
				if !bytes.HasPrefix(k, []byte("h/n")) && !bytes.HasPrefix(k, []byte("h/b")) {
					t.Errorf("%x is left", k)
				}
				return true, nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}
