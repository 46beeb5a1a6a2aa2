// Package attack holds attacks on a whole network of nodes, each with the figure that
// the defence must reach. It has tests alone; bare libp2p and pubsub are used here by
// the attackers, and by the networks without defences that the checks must find.
package attack
