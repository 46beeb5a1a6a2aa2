// Package relay lets public nodes be reached that stand behind a NAT, by way of others
// that don't.
//
//  1. Ask: libp2p's AutoNAT v2 has other nodes dial this one back at each address that it
//     listens on or that others see it at, with a nonce that only a true listener sees.
//     What the operator announces is taken on his word. Every public node serves these
//     questions, so many a minute.
//  2. Offer: a node that is reached relays for nodes of its own network that are not,
//     a few of each address prefix, each circuit so many bytes and so long.
//  3. Sit: a node that is not reached takes a seat (a reservation) at two relays of
//     different operators and address prefixes. It tries each seat before it announces
//     it and ever after, from a node made up for that: a relay that drops what it should
//     carry loses its guest to another.
//  4. Punch: who is called over a relay asks the caller, by DCUtR, to open a straight way
//     through both NATs at once. Behind NATs that give every destination another port
//     this fails, and the relayed way stays.
//
// A yes of AutoNAT can't be forged, though a NAT that lets in any port of a machine that
// was written to passes for an open door: the question comes back from where it was put.
// A no can be forged, by most of those that a node is connected with: it then announces
// seats in place of its addresses, and is drawn as a keeper no more until others say
// otherwise. An operator who knows better announces the address.
//
// A relay reads nothing: the two ends prove their keys to each other and encrypt, as
// over a straight way. It can drop, delay and count, and it sees from which address and
// peer id somebody calls, which for a customer is a new one at each start. A relay that
// drops what strangers send, and carries what comes from its guest's own address, passes
// the guest's tries; the other seat is there for that.
//
// Over a relayed way go a letter's streams alone (Carries): mail and post, which are
// short, and can be tried again. A pull or a comparison of shards moves megabytes that
// any straight way moves better, and would starve the others who sit at the relay; it
// waits for the punched way, or does not happen. The same holds for gossip and the DHT:
// libp2p keeps both off limited ways. A node that is reached over relays alone is no
// keeper (peers.Host.Keepers leaves it out, always): what a keeper holds must be had
// whole and at any time, by customers too, and a draw of keepers in different networks
// says nothing where the two relays behind them may be the same. A node that was a
// keeper when it lost its place in the sun is still found for the letters that it holds.
//
// A personal node dials over relays, and nothing else: it listens to none, takes no seat,
// answers no punch. The word of a stranger that he is at a relay's address makes this
// node call that relay, no more: one hop, at an IP address, never nearer than others.
package relay
