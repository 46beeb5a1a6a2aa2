// Package node is the front door: it opens a node on a home folder and hands out its
// desks. Everything that moves stands behind it.
//
//	n, err := node.Open(ctx, node.Config{Paths: paths})
//	defer n.Close(ctx)
//	need, err := n.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "a desk"})
//
// The vocabulary of the desks is package desk; package client speaks the same
// vocabulary to a node in another process. A Node implements desk.House.
//
// # What flows
//
//  1. Announce. Page, command or program → desks → market: the need is sealed under
//     a key of its own → wire signs with the context's key → ledger → outbox → courier
//     → keepers → gossip.
//  2. Hear. Gossip or pull → check.Door → board → market → the vendor's rules.
//  3. Ask, grant, receipt, disclose. Request, which the vendor's node first holds to the
//     law → the context's mailbox → her market: the law and what she offered, her rules
//     for fields and requests, and where none decides she herself → ledger → Grant → the
//     vendor countersigns and pays, with a voucher where it costs something → checked
//     against the signed Grant → Disclosure.
//  4. Offer and deal. Offer under the shared secret and to the grant's key → mailbox →
//     her node opens it, holds it against her constraints → accept → … → closed, each
//     step through package flow.
//  5. Revoke. Ledger → offer keys destroyed → letter on duty keys → the vendor's node
//     deletes → signed answer → ledger, or a lapse after the deadline. All that a
//     vendor's node holds of customers stands in store/held, one record per grant, with
//     the chunks of large values under it; no search index is built over it (the catalogue's
//     indexes the vendor's own products alone), so a deletion is that record, the unsent
//     offers, and the list of exports. An export is a value that the owner had written
//     out (desk.Held.Download, hark held get): its field is noted in the agreement and
//     the ledger before the first byte leaves, and the deletion names it.
//
// # Ways in
//
// A node comes to know of public nodes in four ways, none of which depends on another.
// hark status shows what came of each, and "ways" in config.toml (hark init --ways, hark
// run --ways, HARK_WAYS) limits a node to some of them. Each carries a node alone: it then
// takes nothing from the other three, and needs no more than stands here to begin with.
//
//   - bootstrap: one address in the list of network.json at which a public node answers.
//     It alone is enough at a first start.
//   - cache: one node that was reached in an earlier run (peers.json in the state folder)
//     and is where it was. Nobody on the bootstrap list need be left.
//   - exchange: one introduction. Whoever is connected is asked for the nodes that it
//     reached itself, and may be gone afterwards. A public node is introduced by any that
//     calls it; a personal one is called by nobody, and so meets its first by another way.
//   - dht: one address of somebody who answers the DHT's lookups, and need do nothing
//     else. The DHT's own list of an earlier run (dht.json) has some; at a first start
//     the bootstrap list or the cache gives one, and so is on beside it. A personal node
//     asks once no node that serves it was connected for 15 s.
//
// Nodes that call here, and keepers that announcements and passports name, become known
// besides: by dealing with a network that one is in already, so they are no way in.
//
// A way that is off is not used by this node; others' ways to it are theirs. The list is
// not read; the cache is not read, but kept; nobody is asked for nodes, but whoever asks is
// told. Without the way dht a node takes no part in the DHT, or it would be told of others
// with every answer: it keeps no records there, finds no passport or announcement there
// that public nodes lack, and gets no seat at relays where it stands behind a NAT.
//
// # Rooms
//
//   - desk: the vocabulary; client: the same over REST; nodetest: whole networks in
//     memory, with fake time.
//   - internal/market: the one loop that owns needs, grants and deals.
//   - internal/consent: her own rules for requests, in CEL; pure.
//   - internal/pay: the rails on which a grant is paid; pure.
//   - internal/desks: the counter in front of it: reads specs, makes views.
//   - internal/courier: letters out and in. internal/keeper: what this node does for
//     others, and how to ask others for it; its roster draws keepers of different
//     operators and networks, its pull fills what gossip left out.
//   - internal/peers, internal/gossip: the host and the topics; internal/peers/dht: the
//     hash table, a hint where things are; internal/peers/reach: how others are reached.
//   - internal/seller: finds products for needs (Go ignores folders named vendor).
//   - internal/api: the REST API. internal/metrics: what the node counts, for Prometheus,
//     at /metrics behind the same token. internal/crew: every goroutine's boss.
//
// # Decisions that differ from the first design
//
//   - Each request of a vendor has a reply mailbox of its own, in place of the vendor's
//     inbox: the mailbox alone tells which key opens what comes, so nothing is tried
//     against many keys, and keepers cannot link a vendor's requests by mailbox.
//   - A letter whose Re names an envelope acknowledges it; only what gets no such answer
//     gets an Ack, and one Ack gathers many. That halves the letters of a flow.
//   - A deposit may be held back for up to an hour. It blurs when letters were written,
//     and lets a demonstration show that an offer which surfaces after the revocation
//     stays shut.
//   - The first hop of a post is another keeper of the same need, and cannot read it. A
//     stranger there would learn when an address posts to which keepers, which the
//     announcement names in public: spies then guess the author seven times better.
//   - There is no anti-entropy between a mailbox's keepers: the sender repairs until its
//     letter is acknowledged. SPEC.md, Appendix B, weighs the two.
//   - A keeper names its operator, and the time it believes it is, under ignorable keys of
//     its Hello. Both are claims; a false one costs its author alone.
//   - Records of the DHT lie in memory, not on disk: keepers put them again each day, and
//     strangers never make a node write.
//   - What came by pull or post within the last minute is passed on when gossip brings it,
//     so that whoever is faster does not stand in gossip's way.
//   - A need grants nothing by itself unless its owner says so when she announces it
//     (NeedSpec.Auto, hark need new --auto): what it offers, to whoever asks for no more.
//     That is a rule, need-offers, of one need, which ends with it; a standing rule for
//     all needs would outlive the moment in which she chose the fields and their prices.
//     Everything else that no rule of hers decides waits for her.
//   - Of her rules that hold the most restrictive wins (deny, ask, allow), whatever their
//     order: a rule added later never undoes a prohibition. One that cannot be evaluated
//     asks her. None grants special information or a child's.
//   - Requests beyond the prompts of a day wait without a word, and are in the list when
//     she looks; they are not refused, or whoever floods would have honest vendors
//     refused. One vendor has one prompt a day, and two of the five are kept for vendors
//     that she granted something before, since identities cost a flooder little.
//   - She grants fewer fields, a shorter time or a coarser value directly; a price makes a
//     counter-proposal, which opens the way for one more request. One that meets it is
//     granted by a rule that is built in, counter-met: she has said so herself.
//   - A voucher is credit, and a vendor may never pay it. So what one may owe her is capped
//     (50 units of a currency where she says nothing), over all her needs together, and
//     shown as owed, never as earned. A price above the cap is refused; one that only goes
//     beyond what is left of it waits for her, since a refusal would tell the vendor that
//     two needs are one customer's.
//   - A vendor pays by itself no more for a grant, and owes no more in all, than its owner
//     said: needs cost their makers little, and could be made to collect vouchers.
//   - A second request after a refusal is dropped unanswered, also under a rotated
//     passport and after a restart: POPIA s69(2) lets a vendor ask once. What she refused
//     herself binds beyond the need, for the same fields and purpose, but for a need that
//     she announced since and that offers them: that invites anew. Nothing is answered,
//     so nothing tells a vendor that two needs are one customer's.
//   - Ids of events hold when the node started: events are kept in memory alone, and one
//     who resumes with an id of another start, or with one so old that what followed it is
//     dropped, is shown an event events.gap before all that is kept, rather than nothing.
//   - What a program asks of the API with an Idempotency-Key happens once, also over a kill:
//     the market marks the key in the transaction of the effect, the API keeps the answer
//     before it gives it (store/answers: sealed, at most 4096 answers of 8 MiB for a day).
//     A repetition gets the first answer; where the kill came between the two, the present
//     state of what was made or changed. What takes several transactions (revocations of
//     several grants, imports, files) is done to its end. Another request with the key is
//     refused, and while the vault is locked so is every one with a key.
//   - The rooms desk, client and internal/desks are new: with them commands, examples
//     and tests share one set of views, and the market stays free of presentation.
//
//house:allow package the home folder, the life of a node and its own desks share one struct; what moves is in rooms of its own
package node
