package wire

import (
	"crypto/ed25519"
	"crypto/hpke"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// turns lets two ways of doing the same work take turns in small rounds. x-floor is the
// median of their ratios round by round, so that what else the machine does falls out;
// x-mean is the ratio of all the time spent.
func turns(b *testing.B, ours, floor func()) {
	const round = 3
	var a, f []time.Duration
	for b.Loop() {
		start := time.Now()
		for range round {
			ours()
		}
		middle := time.Now()
		for range round {
			floor()
		}
		a, f = append(a, middle.Sub(start)), append(f, time.Since(middle))
	}
	b.ReportMetric(sum(a)/sum(f), "x-mean")
	b.ReportMetric(ratio(a, f), "x-floor")
	b.ReportMetric(median(a)/round, "ns/letter")
	b.ReportMetric(median(f)/round, "ns/floor")
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

// letterBench is one offer that fills most of the 1 KiB bucket, and its keys.
func letterBench(b *testing.B) (o *protocol.Offer, to key.Decapsulation[key.OfferSeal], box key.MailboxKey) {
	o = offer()
	o.Description = strings.Repeat("x", protocol.MaxText)
	if n := len(must(Sign(itsDuty, o))); seal.Bucket(n) != seal.Bucket1K {
		b.Fatalf("%d bytes are another bucket", n)
	}
	return o, opener[key.OfferSeal]("offer"), private[key.Mailbox]("box offer").Public()
}

// BenchmarkSealLetter: sign, pad and seal a message of the 1 KiB bucket. The floor is
// HPKE from the recipient's key bytes over 1 KiB, and one Ed25519 signature of 1 KiB.
func BenchmarkSealLetter(b *testing.B) {
	o, k, box := letterBench(b)
	to := k.Public()
	keyBytes := must(to.MarshalBinary())
	info, aad, plain := make([]byte, 100), make([]byte, 1200), make([]byte, seal.Bucket1K)
	signer := ed25519.NewKeyFromSeed(make([]byte, 32))
	turns(b, func() {
		raw, _, err := SealLetter(to, seal.Offer, testNet, box, testNow, must(Sign(itsDuty, o)))
		must(raw, err)
	}, func() {
		ed25519.Sign(signer, plain)
		pub := must(hpke.MLKEM768X25519().NewPublicKey(keyBytes))
		_, sender, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
		must(must(sender, err).Seal(aad, plain))
	})
}

// BenchmarkOpenLetter: open a letter of the 1 KiB bucket and the signed message in it.
// The floor is HPKE with the expanded key over 1 KiB, and one Ed25519 verification.
func BenchmarkOpenLetter(b *testing.B) {
	o, k, box := letterBench(b)
	raw, _, err := SealLetter(k.Public(), seal.Offer, testNet, box, testNow, must(Sign(itsDuty, o)))
	must(raw, err)
	info, aad := make([]byte, 100), make([]byte, 1200)
	priv := must(k.HPKE())
	enc, sender, err := hpke.NewSender(priv.PublicKey(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	ct := must(must(sender, err).Seal(aad, make([]byte, seal.Bucket1K)))
	signer := ed25519.NewKeyFromSeed(make([]byte, 32))
	msg := make([]byte, seal.Bucket1K)
	sig := ed25519.Sign(signer, msg)
	pub := signer.Public().(ed25519.PublicKey)
	turns(b, func() {
		plain, _, err := OpenLetter(k, seal.Offer, testNet, raw)
		must(Open(must(plain, err)))
	}, func() {
		must(must(hpke.NewRecipient(enc, priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)).Open(aad, ct))
		if !ed25519.Verify(pub, msg, sig) {
			b.Fatal("floor")
		}
	})
}
