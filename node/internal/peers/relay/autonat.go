package relay

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2/pb"
	"go.uber.org/fx"
)

// One observer's word of where he sees this node is enough to ask about that address: it
// is announced only once another got through to it. libp2p would wait for four, which
// a young network does not have.
func init() { observedaddrs.ActivationThresh = 1 } //nolint:gochecknoinits // libp2p has no option for it

// autoNAT puts AutoNAT v2 into the host, both sides of it, with our limits, which
// libp2p's own option does not take.
func (s *Service) autoNAT(limits network.ResourceManager) (libp2p.Option, error) {
	dialer, err := s.stranger(keptOpen{limits})
	if err != nil {
		return nil, err
	}
	s.dialer = dialer
	nat, err := autonatv2.New(dialer, autonatv2.WithServerRateLimit(s.cfg.Limits.Questions, questionsOf, questionsData, questionsNow),
		autonatv2.WithMetricsTracer(&s.asked))
	if err != nil {
		return nil, fmt.Errorf("relay: AutoNAT: %w", err)
	}
	return libp2p.WithFxOption(fx.Decorate(func(*autonatv2.AutoNAT) *autonatv2.AutoNAT { return nat })), nil
}

// stranger makes up a node with a key of its own that only dials, over the same wire.
func (s *Service) stranger(limits network.ResourceManager, more ...libp2p.Option) (host.Host, error) {
	h, err := libp2p.New(slices.Concat(s.cfg.Wire, []libp2p.Option{
		libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.DisableIdentifyAddressDiscovery(), libp2p.Ping(false),
		libp2p.ForceReachabilityPrivate(), libp2p.UserAgent("hark"), libp2p.ProtocolVersion("hark/1"),
		libp2p.ResourceManager(limits), libp2p.ConnectionManager(connmgr.NullConnMgr{}),
	}, more)...)
	if err != nil {
		return nil, fmt.Errorf("relay: a node to dial from: %w", err)
	}
	return h, nil
}

// keptOpen are limits that several hosts share: the first that closes does not end them.
type keptOpen struct{ network.ResourceManager }

// Close implements network.ResourceManager.
func (keptOpen) Close() error { return nil }

// A window counts AutoNAT's questions that were answered within a minute. It is an
// autonatv2.MetricsTracer.
type window struct {
	now func() time.Time
	mu  sync.Mutex
	at  []time.Time
}

// CompletedRequest implements autonatv2.MetricsTracer.
func (w *window) CompletedRequest(e autonatv2.EventDialRequestCompleted) {
	if e.ResponseStatus == pb.DialResponse_E_REQUEST_REJECTED {
		return
	}
	w.size()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = append(w.at, w.now())
}

// ClientCompletedRequest implements autonatv2.MetricsTracer.
func (*window) ClientCompletedRequest([]autonatv2.Request, autonatv2.Result, error) {}

func (w *window) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := w.now().Add(-time.Minute)
	w.at = slices.DeleteFunc(w.at, func(t time.Time) bool { return t.Before(since) })
	return len(w.at)
}
