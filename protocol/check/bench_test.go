package check

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// BenchmarkAdmit measures all checks of one announcement against bare Ed25519
// verification of the same signed bytes. The two take turns in small rounds, and
// x-verify is the median of their ratios round by round, so that what else the machine
// does falls out; x-mean is the ratio of all the time spent, collecting garbage and all.
func BenchmarkAdmit(b *testing.B) {
	d, _ := door()
	raw := signed(b, announcement(b), testEffort)
	topic := int(wire.Shard("home.furniture", "ZA-GP", d.Shards))
	e, err := seal.ParseEnvelope(raw)
	if err != nil {
		b.Fatal(err)
	}
	msg := signedBytes(e)
	if !ed25519.Verify(e.Key[:], msg, e.Signature) {
		b.Fatal("the floor verifies something else")
	}
	const round = 5
	var ours, bare []time.Duration
	for b.Loop() {
		start := time.Now()
		for range round {
			if _, v, r := d.Announcement(raw, topic, "peer", testNow); v != Pass {
				b.Fatal(r)
			}
		}
		middle := time.Now()
		for range round {
			ed25519.Verify(e.Key[:], msg, e.Signature)
		}
		ours, bare = append(ours, middle.Sub(start)), append(bare, time.Since(middle))
	}
	b.ReportMetric(sum(ours)/sum(bare), "x-mean")
	b.ReportMetric(ratio(ours, bare), "x-verify")
	b.ReportMetric(median(ours)/round, "ns/admit")
	b.ReportMetric(median(bare)/round, "ns/verify")
	b.ReportMetric(float64(len(raw)), "bytes")
}

func sum(rounds []time.Duration) (all float64) {
	for _, d := range rounds {
		all += float64(d)
	}
	return all
}

// ratio is the median of the ratios round by round.
func ratio(a, b []time.Duration) float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = float64(a[i]) / float64(b[i])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func median(rounds []time.Duration) float64 {
	slices.Sort(rounds)
	return float64(rounds[len(rounds)/2])
}

// signedBytes are what the signature of an announcement covers (RFC 0002).
func signedBytes(e seal.Envelope) (msg []byte) {
	domain := protocol.KindAnnouncement.Domain()
	for _, part := range []string{domain, domain, string(e.Payload)} {
		if n := len(part); n < 128 {
			msg = append(msg, byte(n))
		} else {
			msg = append(msg, byte(n)|0x80, byte(n>>7))
		}
		msg = append(msg, part...)
	}
	return msg
}
