// Package peers connects this node with others: the libp2p host, the addresses
// and the public nodes that it knows.
//
//  1. Open starts a host (QUIC, and TLS over TCP) with a limit for every protocol
//     and peer (room limits). A public node listens; a personal node has no listen
//     address, announces none and answers no stream. Room address judges addresses.
//     Room relay finds out whether a public node is reached, and sees to it where it
//     stands behind a NAT.
//  2. A table holds the public nodes known, by four ways in that do not depend on each
//     other: the bootstrap list, those of the last run (Book), those told by others
//     (Exchange), those found in the DHT (room dht); and those that connected to us.
//     Each can be turned off (Config.Off), and any one alone carries a node.
//     A node is told on only if we reached it ourselves, and only at the IP address
//     where we did.
//  3. One loop keeps a handful of connections to public nodes alive, tries what
//     failed again with growing pauses, asks for more nodes, and saves the table. Seek
//     goes to nodes of a kind, beyond that handful. Of a node that was lost and is back
//     Back tells, and others that were lost are tried.
//  4. Dial opens a stream to a keeper; Serve answers streams, each handler counted,
//     bounded and waited for. What a relay must not carry is opened and answered over
//     a straight way alone.
//
//house:allow package the host, its table and its one loop share the same connections and pauses
package peers
