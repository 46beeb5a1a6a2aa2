package pull

import "github.com/harkmarket/hark/protocol"

// Grace is how long a mesh peer may take with an announcement: long enough for its
// own pull to bring what gossip did not bring to it either.
const Grace = 5 * protocol.Minute

// Withheld counts what shows that a mesh peer passes nothing on, where the topic is
// too quiet for counting what it delivers. came are the announcements that it had and
// this node lacked until it asked, by when they were made: in the mesh it should have
// sent or offered them. lacks are those that this node has and the peer lacks, by when
// this node heard them: whoever takes part in the mesh, and pulls, has them by now.
// A peer that drops everything does one or the other, for it can only hide what it
// received by not having it.
//
// Neither counts within Grace, nor from before this node followed the shard. A few
// are no proof: an author may post late what he made early, and a full board lets
// go of what ends soonest.
func Withheld(now, since protocol.Second, came, lacks []protocol.Second) (n int) {
	for _, times := range [][]protocol.Second{came, lacks} {
		for _, at := range times {
			if at >= since && at <= now && now-at > Grace {
				n++
			}
		}
	}
	return n
}
