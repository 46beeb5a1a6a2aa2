package node

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/keeper/roster"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/metrics"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/blobs"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	"github.com/harkmarket/hark/store/outbox"
)

// Config says how to open a node.
type Config struct {
	Paths      Paths
	Passphrase []byte // none: the node starts locked where its key store needs one
	Version    string // of the program
	Log        *slog.Logger
	NoAPI      bool
	Ways       []string // ways in that are used, whatever config.toml says; nil: what it says
	// Misbehave breaks one promise on purpose, so that a demonstration or an attack
	// test can show that others notice; see Misbehaviours.
	Misbehave string
	// Simulated puts the node on a simulated network with its own time and memory;
	// package nodetest makes it.
	Simulated *Simulated
}

// Simulated is a network, a clock and a store that are not the machine's.
type Simulated struct {
	Port peers.Port
	// Join, where Port is nil, joins the real network over a simulated wire. cfg lacks
	// only where to listen, whom to know at first, and the wire.
	Join    func(ctx context.Context, cfg peers.Config) (peers.Port, error)
	Key     key.Private[key.Keeper]
	Store   kv.Store
	Master  key.Secret
	Genesis *protocol.Genesis
	Profile string
	Locked  bool // the market stays shut: a node that only carries for others
	DHT     bool // with Join: takes part in the network's DHT, which costs much in a large world
	Now     func() time.Time
	Limits  Limits
	Posting *courier.Posting // of a personal node; nil: two hops, no delay
	// Search stands in for the catalogue's search index, whose library keeps
	// goroutines of its own and so can't run in a bubble of fake time.
	Search func(*catalog.Catalog) seller.Searcher
}

// Limits are smaller bounds than a node's own, so that a test can reach them. What is
// zero stays as it is.
type Limits struct {
	Board  board.Limits
	Mail   mailbox.Policy
	Blobs  blobs.Policy
	Keeper keeper.Limits
	Outbox outbox.Limits
	Market market.Limits
	Seller int // needs that wait to be answered
	Fresh  int // announcements that wait for the market
	Events int // kept for those who come back for them

	Tables    keeper.Tables
	Courier   courier.Limits
	Held      int   // records of customers
	HeldBytes int64 // of large values of customers
	Products  int
}

// limits are those of a simulated node.
func (n *Node) limits() Limits {
	if n.cfg.Simulated != nil {
		return n.cfg.Simulated.Limits
	}
	return Limits{}
}

// boardLimits: a public node has room for the market that it passes on.
func (n *Node) boardLimits() board.Limits {
	if n.settings.Profile == Public {
		return n.limits().Board.Or(board.PublicLimits)
	}
	return n.limits().Board
}

// maxCrew is how many goroutines are of the node's own making: one hears, one is told of
// nodes that are back, one serves the API.
const maxCrew = 3

// A Node is one running node. It implements desk.House.
//
//house:allow methods opening and closing each part, and one method for each group of desks
type Node struct {
	cfg      Config
	settings Settings
	genesis  *protocol.Genesis
	net      protocol.Hash
	began    began
	store    kv.Store
	board    *board.Board
	kept
	links
	roster *roster.Roster
	keeper *keeper.Keeper
	server *api.Server
	url    string
	crew   *crew.Crew
	events *events
	fresh  chan wire.Heard
	missed atomic.Bool // some did not fit into fresh
	stop   stop

	mu     sync.Mutex
	inside *inside // nil while locked
}

// kept is what a public node keeps for others.
type kept struct {
	boxes *mailbox.Mailboxes
	blobs *blobs.Blobs
}

// began is when the node was opened, and how long that took.
type began struct {
	at    time.Time
	ready time.Duration
}

// stop is closed once, when somebody asks the node to end.
type stop struct {
	once  sync.Once
	asked chan struct{}
}

// AlreadyRunning says that a node has this home open.
type AlreadyRunning struct {
	PID int
	URL string
}

func (e *AlreadyRunning) Error() string {
	return fmt.Sprintf("a node is running in this home already (pid %d, %s)", e.PID, e.URL)
}

// Unwrap gives fault.Conflict.
func (e *AlreadyRunning) Unwrap() error { return fault.Conflict }

// Open starts a node: store, network, what it does for others, the API, and, where
// the key is at hand, the market. It returns when all of this answers. A home that
// is open already gives *AlreadyRunning.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, began: began{at: time.Now()}, stop: stop{asked: make(chan struct{})}}
	n.fresh = make(chan wire.Heard, cmp.Or(n.limits().Fresh, 1024))
	if n.cfg.Log == nil {
		n.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if _, known := misbehaviours[cfg.Misbehave]; !known {
		return nil, fmt.Errorf("misbehaviour %q is none of %v: %w", cfg.Misbehave, Misbehaviours(), fault.Malformed)
	}
	n.events = newEvents(n.now, n.limits().Events)
	n.roster = roster.New(func(most int) []protocol.Keeper { return n.port.Keepers(most) }, n.now)
	// The node outlives the context that opened it: Close ends it.
	n.crew = crew.New(context.WithoutCancel(ctx), maxCrew, nil)
	if err := n.open(ctx); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		return nil, errors.Join(err, n.Close(closing))
	}
	n.began.ready = time.Since(n.began.at)
	n.events.Emit("node.ready", "", map[string]string{"profile": n.settings.Profile})
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	if err := n.openHome(ctx); err != nil {
		return err
	}
	var err error
	if n.board, err = board.Open(n.store, n.genesis.Shards, n.boardLimits()); err != nil {
		return fmt.Errorf("board: %w", err)
	}
	if n.port, err = n.openPort(ctx); err != nil {
		return err
	}
	if err := n.openDHT(ctx); err != nil {
		return err
	}
	if n.settings.Profile == Public {
		if err := n.serve(ctx); err != nil {
			return err
		}
	}
	if err := n.crew.Hire("returns", n.returns); err != nil {
		return err
	}
	if err := n.crew.Hire("heard", n.hear); err != nil {
		return err
	}
	err = n.Unlock(ctx, n.cfg.Passphrase)
	if err != nil && (len(n.cfg.Passphrase) > 0 || !errors.Is(err, fault.Locked)) {
		return err
	}
	return n.openAPI()
}

// openHome reads the home and opens its store.
func (n *Node) openHome(ctx context.Context) error {
	if s := n.cfg.Simulated; s != nil {
		n.settings, n.genesis, n.store = Settings{Version: SettingsVersion, Profile: s.Profile, Ways: n.cfg.Ways}, s.Genesis, s.Store
		var err error
		n.net, _, err = wire.NetworkID(s.Genesis)
		return err
	}
	var err error
	if n.settings, err = ReadSettings(n.cfg.Paths); err != nil {
		return err
	}
	if n.cfg.Ways != nil {
		n.settings.Ways = n.cfg.Ways
	}
	file, err := ReadNetwork(n.cfg.Paths.network())
	if err != nil {
		return err
	}
	if n.genesis, n.net, err = file.Open(); err != nil {
		return err
	}
	if err := n.alone(ctx); err != nil {
		return err
	}
	n.store, err = kv.Open(n.cfg.Paths.store(), kv.WithLog(n.cfg.Log))
	if errors.Is(err, fault.Conflict) {
		return errors.Join(&AlreadyRunning{}, err) // it is starting, and has no API yet
	}
	if err != nil {
		return err
	}
	return n.belongs(ctx)
}

// alone finds a node that has this home open.
func (n *Node) alone(ctx context.Context) error {
	c, err := client.Open(ctx, n.cfg.Paths.API())
	if err != nil {
		return nil // none, or one that left its file behind
	}
	defer c.Close()
	pid, err := c.Health(ctx)
	if err != nil {
		return nil
	}
	return &AlreadyRunning{PID: pid, URL: c.URL()}
}

// openPort joins the network.
func (n *Node) openPort(ctx context.Context) (peers.Port, error) {
	if s := n.cfg.Simulated; s != nil && s.Port != nil {
		return s.Port, nil
	} else if s != nil {
		return n.openSimulated(ctx, s)
	}
	file, err := ReadNetwork(n.cfg.Paths.network())
	if err != nil {
		return nil, err
	}
	bootstrap, err := keepersOf(file.Bootstrap)
	if err != nil {
		return nil, err
	}
	off, err := n.settings.off()
	if err != nil {
		return nil, err
	}
	cfg := peers.Config{
		Profile: peers.Personal, Key: key.Generate[key.Keeper](), Bootstrap: bootstrap,
		Book: book{n.cfg.Paths.peers()}, Exchange: n.client().Exchange(), DHT: dht.Protocol(n.net), Log: n.cfg.Log, Now: time.Now,
		Operator: n.runBy, Announce: n.settings.Announce, Off: off,
	}
	if n.settings.Profile == Public {
		if cfg.Key, err = keeperKey(n.cfg.Paths); err != nil {
			return nil, err
		}
		cfg.Profile, cfg.Listen = peers.Public, n.settings.Listen
	}
	g, err := gossip.Open(context.WithoutCancel(ctx), cfg, n.net, n.genesis.Shards)
	if err != nil { // a nil *gossip.Network would be a peers.Port that is not nil
		return nil, n.cfg.Paths.mend(err, "listen")
	}
	return g, nil
}

// openSimulated joins a network whose wire is simulated, and nothing else.
func (n *Node) openSimulated(ctx context.Context, s *Simulated) (peers.Port, error) {
	off, err := n.settings.off()
	if err != nil {
		return nil, err
	}
	cfg := peers.Config{Profile: peers.Personal, Key: s.Key, Exchange: n.client().Exchange(), Operator: n.runBy, Off: off, Log: n.cfg.Log, Now: n.now}
	if s.Profile == Public {
		cfg.Profile = peers.Public
	}
	if s.DHT {
		cfg.DHT = dht.Protocol(n.net)
	}
	return s.Join(context.WithoutCancel(ctx), cfg)
}

// serve starts what a public node does for others.
func (n *Node) serve(ctx context.Context) error {
	k, err := n.publicKey()
	if err != nil {
		return err
	}
	policy := n.limits().Mail
	policy.Life = n.genesis.Duties.Letters
	if n.boxes, err = mailbox.Open(n.store, k, policy); err != nil {
		return fmt.Errorf("mailboxes: %w", err)
	}
	kept := n.limits().Blobs
	kept.Life = n.genesis.Duties.Letters
	if n.blobs, err = blobs.Open(n.store, kept); err != nil {
		return err
	}
	cfg := keeper.Config{
		Key: k, Duties: n.genesis.Duties, Board: n.board, Mail: n.boxes, Blobs: n.blobs, Port: n.port, Log: n.cfg.Log, Now: n.now,
		Door:     &check.Door{Net: n.net, Shards: n.genesis.Shards, Lanes: n.genesis.Lanes, Memory: n.board},
		Operator: n.operator, Sources: func() []protocol.Keeper { return n.roster.Draw(2) }, Greeted: n.roster.Greeted, Fresh: n.freshly, Shown: n.shown, Limits: n.limits().Keeper, Tables: n.limits().Tables,
		Misbehave: keeper.Misbehaviour(n.cfg.Misbehave),
	}
	if t, ok := n.port.(interface {
		Tell(from string, n int) []protocol.Keeper
	}); ok {
		cfg.Tell = t.Tell
	}
	if h, ok := n.port.(interface{ Connected(key.KeeperKey) bool }); ok {
		cfg.Sources = func() []protocol.Keeper { return n.roster.Pair(h.Connected) }
	}
	if g, ok := n.port.(*gossip.Network); ok {
		cfg.Mesh, cfg.Audit, cfg.Followers = g.Audited, g.Blame, g.Followers
	}
	if n.keeper, err = keeper.New(context.WithoutCancel(ctx), cfg); err != nil {
		return err
	}
	if err := n.keeper.Serve(); err != nil {
		return err
	}
	return n.join(n.shards(market.Follow{}))
}

func (n *Node) publicKey() (key.Private[key.Keeper], error) {
	if s := n.cfg.Simulated; s != nil {
		return s.Key, nil
	}
	return keeperKey(n.cfg.Paths)
}

// freshly queues an announcement for the DHT and for the market. It never blocks: what does not fit
// is found on the board once the queue is empty.
func (n *Node) freshly(h wire.Heard) {
	if n.dht != nil {
		n.dht.Heard(h)
	}
	select {
	case n.fresh <- h:
	default:
		n.missed.Store(true)
		n.cfg.Log.Warn("node: too many announcements at once; the rest waits on the board")
	}
}

// hear hands announcements to the market, while it is open.
func (n *Node) hear(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-n.fresh:
			if in := n.insides(); in != nil {
				if err := in.market.Heard(ctx, h); err != nil && ctx.Err() == nil {
					n.cfg.Log.Warn("node: heard", "id", h.ID().Short(), "err", err)
				}
				if len(n.fresh) == 0 && n.missed.CompareAndSwap(true, false) {
					if err := in.market.CatchUp(ctx); err != nil && ctx.Err() == nil {
						n.missed.Store(true)
						n.cfg.Log.Warn("node: could not look through the board", "err", err)
					}
				}
			}
		}
	}
}

// returns has what was missed for a node that is back made up for: both bound it.
func (n *Node) returns(ctx context.Context) {
	g, ok := n.port.(*gossip.Network)
	if !ok {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-peers.Back(g.Host):
			if n.keeper != nil {
				n.keeper.Back(k)
			}
			if in := n.insides(); in != nil {
				in.courier.Back(ctx)
			}
		}
	}
}

// shards are the topics that a node's rules need, and two drawn from its own key, so
// that what it follows is not the whole truth about what it carries.
func (n *Node) shards(f market.Follow) []uint16 {
	want := map[uint16]bool{}
	for _, s := range protocol.Drawn(n.port.Self().Key, n.genesis.Shards) {
		want[s] = true
	}
	if f.Ask && (len(f.Sectors) == 0 || len(f.Regions) == 0) {
		for i := range n.genesis.Shards {
			want[i] = true
		}
	}
	for _, s := range f.Sectors {
		for _, r := range f.Regions {
			want[wire.Shard(protocol.Category(s+".any"), r, n.genesis.Shards)] = true
		}
	}
	out := make([]uint16, 0, len(want))
	for i := range n.genesis.Shards {
		if want[i] {
			out = append(out, i)
		}
	}
	return out
}

// openAPI starts the REST API and says where it is.
func (n *Node) openAPI() error {
	if n.cfg.NoAPI || n.cfg.Simulated != nil {
		return nil
	}
	token := base64.RawURLEncoding.EncodeToString(key.NewSecret().Reveal())
	if old, err := os.ReadFile(n.cfg.Paths.Token()); err == nil && len(old) == len(token) {
		token = string(old) // one token per installation
	} else if err := writeFile(n.cfg.Paths.Token(), []byte(token)); err != nil {
		return err
	}
	scrape, err := metrics.Handler(n.samples, n.cfg.Log)
	if err != nil {
		return err
	}
	n.server, err = api.New(n, api.Options{
		Addr: n.settings.API, Token: token, Version: n.cfg.Version, Answers: replies{n}, Metrics: scrape, Log: n.cfg.Log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	if n.url, err = n.server.Listen(); err != nil {
		return n.cfg.Paths.mend(err, "api")
	}
	if err := n.crew.Hire("api", func(ctx context.Context) {
		if err := n.server.Run(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Error("node: the API ended", "err", err)
		}
	}); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(client.File{
		Schema: client.FileSchema, URL: n.url, TokenFile: n.cfg.Paths.Token(), PID: os.Getpid(), Version: n.cfg.Version, Started: n.began.at.UTC(),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("api.json: %w", err)
	}
	return writeFile(n.cfg.Paths.API(), append(raw, '\n'))
}

func (n *Node) now() time.Time {
	if s := n.cfg.Simulated; s != nil && s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// closeWait bounds a shutdown.
const closeWait = 15 * time.Second

// URL is where the API listens.
func (n *Node) URL() string { return n.url }

// Done is closed when somebody asked the node to stop.
func (n *Node) Done() <-chan struct{} { return n.stop.asked }

// Close stops everything, in the reverse order of Open, and waits for it; an error
// names what did not stop in time.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close(ctx))
	}
	errs = append(errs, n.lock(ctx))
	if n.keeper != nil {
		errs = append(errs, n.keeper.Close(ctx))
	}
	if n.dht != nil {
		errs = append(errs, n.dht.Stop(ctx))
	}
	if n.port != nil {
		errs = append(errs, n.port.Close(ctx))
	}
	if n.dht != nil {
		errs = append(errs, n.dht.Close(ctx))
	}
	errs = append(errs, n.crew.Dismiss(ctx))
	if n.store != nil && n.cfg.Simulated == nil {
		errs = append(errs, n.store.Close())
	}
	if n.url != "" {
		_ = os.Remove(n.cfg.Paths.API()) // a stale file is recognised as one
	}
	return errors.Join(errs...)
}

const maxBook = 256 << 10 // 256 addresses have about 25 KiB

// book keeps the public nodes that were reached, from one start to the next.
type book struct{ path string }

// Load implements peers.Book.
func (b book) Load() []protocol.Keeper {
	var texts []string
	if readStrict(b.path, maxBook, &texts) != nil {
		return nil // the other ways in are left
	}
	var out []protocol.Keeper
	for _, text := range texts[:min(len(texts), 256)] {
		if k, err := address.Parse(text); err == nil {
			out = append(out, k)
		}
	}
	return out
}

// Save implements peers.Book.
func (b book) Save(list []protocol.Keeper) {
	texts := []string{}
	for _, k := range list {
		if addrs := address.Texts(k); len(addrs) > 0 {
			texts = append(texts, addrs[0])
		}
	}
	if raw, err := json.Marshal(texts); err == nil {
		_ = writeFile(b.path, raw) // the cache is a convenience; the next save tries again
	}
}

var _ desk.House = (*Node)(nil)
