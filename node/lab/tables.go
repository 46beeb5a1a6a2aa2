package lab

import (
	"cmp"
	"math"
	"slices"
)

// A version is one announcement: a context and a sequence number.
type version struct {
	context string
	seq     uint64
}

// A life is a time during which a node was up, with the topics that it followed.
type life struct {
	from, to int64
	shards   []uint16
}

// tables are the records of one run, by what they are asked for.
type tables struct {
	players   int
	public    []Record // node records of public nodes
	side      map[string]int
	said      []Record // by time
	next      map[version]int64
	lives     map[string][]life
	heard     map[version]map[string]Record // by node, the first time
	again     map[version]map[string]bool   // by node
	usage     map[string]map[int]Record     // by node and life, the last one
	before    map[string]Record             // by node, what it had used when the load began
	spied     map[version]Record            // the first
	spyCount  int
	lookups   []Record
	dhtFloods []Record
	split     [2]int64 // from, to
	marks     []Mark
	end       int64
	keeperTables
	attacks attacks
}

func newTables(records []Record) *tables {
	t := &tables{
		side: map[string]int{}, next: map[version]int64{}, lives: map[string][]life{}, heard: map[version]map[string]Record{}, again: map[version]map[string]bool{},
		keeperTables: newKeeperTables(), usage: map[string]map[int]Record{}, before: map[string]Record{}, spied: map[version]Record{}, split: [2]int64{math.MaxInt64, math.MaxInt64},
	}
	var lives []Record
	for _, r := range records {
		t.end = max(t.end, r.MS)
		switch r.Kind {
		case KindNode:
			t.node(r)
		case KindLife:
			lives = append(lives, r)
		case KindSaid:
			t.said = append(t.said, r)
		case KindHeard:
			t.hear(r)
		case KindAgain:
			v := version{r.Context, r.Seq}
			if t.again[v] == nil {
				t.again[v] = map[string]bool{}
			}
			t.again[v][r.Node] = true
		case KindUsage:
			if r.What == "start" {
				t.before[r.Node] = r
				continue
			}
			if t.usage[r.Node] == nil {
				t.usage[r.Node] = map[int]Record{}
			}
			if old := t.usage[r.Node][r.Life]; r.MS >= old.MS {
				t.usage[r.Node][r.Life] = r
			}
		case KindSpied:
			if r.What != "" {
				t.traces = append(t.traces, r)
				continue
			}
			t.tell(r)
			v := version{r.Context, r.Seq}
			if old, ok := t.spied[v]; !ok || r.MS < old.MS {
				t.spied[v] = r
			}
		case KindLookup:
			t.lookups = append(t.lookups, r)
		case KindMark:
			t.mark(r)
		case KindHostile:
			t.attacks.records = append(t.attacks.records, r)
		default:
			t.take(r)
		}
	}
	slices.SortStableFunc(lives, func(a, b Record) int { return cmp.Compare(a.MS, b.MS) })
	t.live(lives)
	slices.SortStableFunc(t.said, func(a, b Record) int { return cmp.Or(cmp.Compare(a.MS, b.MS), cmp.Compare(a.Need, b.Need)) })
	for _, a := range t.said {
		if a.What == "withdrawn" && a.Seq > 1 {
			t.next[version{a.Context, a.Seq - 1}] = a.MS
		}
	}
	return t
}

func (t *tables) node(r Record) {
	t.players++
	t.role[r.Node] = r.Role
	if !r.Public {
		t.customers = append(t.customers, r.Node)
	}
	t.side[r.Node] = r.Side
	if r.Public {
		t.public = append(t.public, r)
	}
	if r.Role == Spy {
		t.spyCount++
	}
}

func (t *tables) hear(r Record) {
	v := version{r.Context, r.Seq}
	if t.heard[v] == nil {
		t.heard[v] = map[string]Record{}
	}
	if old, ok := t.heard[v][r.Node]; !ok || r.MS < old.MS {
		t.heard[v][r.Node] = r
	}
}

func (t *tables) mark(r Record) {
	if r.Flood != nil {
		t.dhtFloods = append(t.dhtFloods, r)
	}
	switch r.What {
	case "split":
		t.split[0] = r.MS
	case "join":
		t.split[1] = r.MS
	}
	if r.What == "split" || r.What == "join" {
		t.marks = append(t.marks, Mark{float64(r.MS), r.What})
	}
}

// live makes intervals of what is in order by time.
func (t *tables) live(records []Record) {
	for _, r := range records {
		list := t.lives[r.Node]
		open := len(list) > 0 && list[len(list)-1].to == math.MaxInt64
		switch {
		case r.What == "up" && !open:
			t.lives[r.Node] = append(list, life{r.MS, math.MaxInt64, r.Shards})
		case r.What == "down" && open:
			list[len(list)-1].to = r.MS
		}
	}
}

// judge tells from when node n could hear of announcement a, and when it did. A pair
// that was not heard counts when n was there for as long as wait from some moment on,
// while nothing newer took a's place.
func (t *tables) judge(a, n Record, wait int64) pair {
	v := version{a.Context, a.Seq}
	h, was := t.heard[v][n.Node]
	p := pair{asked: a.MS, due: a.MS, heard: h.MS, way: h.Way, again: t.again[v][n.Node]}
	from := a.MS
	if t.side[a.Node] != n.Side && t.split[0] <= a.MS && a.MS < t.split[1] {
		from = t.split[1]
	}
	over := t.end
	if next, ok := t.next[v]; ok {
		over = min(over, next)
	}
	for _, l := range t.lives[n.Node] {
		if !slices.Contains(l.shards, a.Shard) {
			continue
		}
		p.follows = true
		switch start := max(from, l.from); {
		case was && l.from <= h.MS && h.MS <= l.to:
			p.was = true
			if start <= h.MS {
				p.due = start
			}
			return p
		case !was && !p.counts && min(over, l.to)-start >= wait:
			p.counts, p.due = true, start
		}
	}
	return p
}
