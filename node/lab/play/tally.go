package play

import (
	"slices"

	"github.com/harkmarket/hark/node/lab"
)

// A tally knows just enough to tell whether anything is still to be waited for, and
// to show how far it is. No figure of a result comes from it.
type tally struct {
	said  map[string]lab.Record // the newest version of each context
	heard map[string]map[string]uint64
	up    map[string][]uint16 // public nodes that are up, and their topics
}

func newTally() tally {
	return tally{said: map[string]lab.Record{}, heard: map[string]map[string]uint64{}, up: map[string][]uint16{}}
}

func (t *tally) say(r lab.Record) {
	if r.Seq >= t.said[r.Context].Seq {
		t.said[r.Context] = r
	}
}

func (t *tally) hear(r lab.Record) {
	if t.heard[r.Context] == nil {
		t.heard[r.Context] = map[string]uint64{}
	}
	t.heard[r.Context][r.Node] = max(r.Seq, t.heard[r.Context][r.Node])
}

func (t *tally) follow(node string, shards []uint16) { t.up[node] = shards }

func (t *tally) leave(node string) { delete(t.up, node) }

// complete tells whether every node that is up has the newest version of everything.
func (t *tally) complete() bool {
	for context, a := range t.said {
		for node, shards := range t.up {
			if slices.Contains(shards, a.Shard) && t.heard[context][node] < a.Seq {
				return false
			}
		}
	}
	return true
}

// pairs counts what was heard, and what is to be heard by those who are up now.
func (t *tally) pairs() (heard, due int) {
	on := map[uint16]int{}
	for _, shards := range t.up {
		for _, s := range shards {
			on[s]++
		}
	}
	for context, a := range t.said {
		due += on[a.Shard]
		heard += len(t.heard[context])
	}
	return heard, due
}
