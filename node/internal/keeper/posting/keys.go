package posting

import (
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// turnEvery is how long a keeper gives out one post key. It opens with it for as
// long again: what was sealed to it just before its turn ends is still on its way,
// and others pass the key on.
const turnEvery = protocol.Day

// own are this keeper's post keys, in memory alone: whoever takes its disk opens
// nothing that was posted to it.
type own struct {
	sign key.Private[key.Keeper]
	mu   sync.Mutex
	made protocol.Second // when the current one was
	cur  key.Decapsulation[key.PostSeal]
	prev key.Decapsulation[key.PostSeal]
	said protocol.PostKey // of cur
}

// word gives this keeper's signed word for its current key.
func (o *own) word(now protocol.Second) (protocol.PostKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.turn(now)
	return o.said, err
}

// keys are those that open, the current one first.
func (o *own) keys(now protocol.Second) []key.Decapsulation[key.PostSeal] {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.turn(now) != nil || o.prev.IsZero() {
		return []key.Decapsulation[key.PostSeal]{o.cur}
	}
	return []key.Decapsulation[key.PostSeal]{o.cur, o.prev}
}

// turn makes a new key where the current one has had its day. A clock that was set
// back counts as one that moved on: the date in the word would be too far ahead.
// Called with mu held.
func (o *own) turn(now protocol.Second) error {
	if !o.cur.IsZero() && now >= o.made && now < o.made+turnEvery {
		return nil
	}
	o.prev = o.cur
	if now < o.made || now >= o.made+2*turnEvery {
		o.prev = key.Decapsulation[key.PostSeal]{} // that one's time is over too
	}
	o.cur, o.made = key.GenerateSeal[key.PostSeal](), now
	o.said = protocol.PostKey{Keeper: o.sign.Public(), Seal: o.cur.Public(), Expires: now + 2*turnEvery}
	return wire.SignPostKey(o.sign, &o.said)
}

// maxKnown usually bounds the post keys of others that are remembered, of 1.4 KB each.
const maxKnown = 1024

// known are the post keys of other keepers.
type known struct {
	most int
	mu   sync.Mutex
	of   map[key.KeeperKey]protocol.PostKey
}

func newKnown(most int) *known {
	return &known{most: most, of: map[key.KeeperKey]protocol.PostKey{}}
}

func (k *known) get(of key.KeeperKey, now protocol.Second) (protocol.PostKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	word, ok := k.of[of]
	if ok && now >= word.Expires {
		delete(k.of, of)
		ok = false
	}
	return word, ok
}

// put remembers a word that was checked. A full table forgets what is past its date,
// else any.
func (k *known) put(word protocol.PostKey, now protocol.Second) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.of[word.Keeper]; !there && len(k.of) >= k.most {
		var last key.KeeperKey
		for of, w := range k.of {
			last = of
			if now >= w.Expires {
				break
			}
		}
		delete(k.of, last)
	}
	k.of[word.Keeper] = word
}

func (k *known) drop(of key.KeeperKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, of)
}

func (k *known) size() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.of)
}
