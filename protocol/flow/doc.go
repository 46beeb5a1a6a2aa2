// Package flow holds the three state machines of the market: context, agreement
// and deal. They are pure: a Next function takes a value and one event, and gives
// the new value and the acts that are now due. It reads no clock, sends nothing,
// and never changes the value that it was given.
//
// # The flow
//
//  1. A message was opened and checked (package wire), or this node is about to
//     send one of its own. For its own, the node first asks May, which says whether
//     an honest side may make this move in this state.
//  2. The node turns it into an Event and calls Next.
//  3. Next adds the event to what is already known. An event that is known changes
//     nothing. One whose turn has not come waits in the value, and counts as soon
//     as what it needs is known: events may come in any order.
//  4. The state is worked out afresh from everything that is known and from the
//     latest tick. So two nodes that know the same are in the same state, in
//     whatever order they came to know it.
//  5. The acts are what this node (Me) has to do now. They are done in the
//     transaction that stores the new value, or are put into the outbox by it.
//  6. Due says who must act next, by when, and what happens otherwise. At that
//     moment the node calls Next with a tick: Event{At: now}. Collect the mail
//     before the tick, or a lapse is seen where there is none.
//
// # Rules where moves conflict
//
//   - What was said beats what time decided. A Grant that arrives after its request
//     expired here still counts, and so does an Accept after its offer expired, or
//     a Deletion after a lapse; the lapse stays on record. Only the end of a grant
//     is final by date, because the date stands in the Grant itself.
//   - Of several answers to a Request the one that gives most counts: Grant before
//     Counter before Refusal. She ends a Grant with a Revocation, not a Refusal.
//   - Of two Grants the one with a Receipt counts, else the lower id. Of two
//     Receipts, the one for the lower Grant id.
//   - Revocation beats Suspend, Resume and Disclosure. Deletion beats all.
//   - Accept beats Decline: who accepted gets out by Cancel.
//   - Cancel beats Accept and Confirm. The customer's Cancel also beats a Fulfil
//     that crossed it, but not one that it answers (names in Re): she knew then. The
//     vendor's Cancel does not beat its own Fulfil. Close beats Cancel.
//   - A later step of one side implies its earlier one: Fulfil implies Confirm.
//
// An event after the end is kept and changes nothing, without an error: it may be
// late, or be what an early one was waiting for.
//
// # Context (her own; Next sees her announcements and her local moves)
//
//	state      event                             becomes
//	draft      Announcement, open                announced
//	announced  Announcement, higher seq          announced, under the new date
//	announced  Suspend                           paused
//	paused     Resume (Re: the Suspend)          announced
//	any        Announcement, withdrawn           withdrawn, whatever the seq
//	announced  tick at Expires                   expired
//	paused     tick at Expires                   expired
//	expired    Announcement, higher seq          announced again
//	any        Close                             closed
//
// A relation is not announced: it stays a draft until it is closed. Suspend, Resume
// and Close are local moves of hers; nothing about them goes out but a withdrawal.
//
// # Agreement
//
//	state      event                  becomes     who acts next, by when, otherwise
//	none       Request                requested   customer, Until: expired
//	none       Grant without Re       granted     (she starts)
//	requested  Refusal                refused     -
//	requested  Counter                countered   -
//	requested  Grant                  granted     vendor, the grant's end: expired
//	granted    Receipt                receipted   customer, the grant's end: expired
//	receipted  Disclosure             disclosed   customer, end of lease: values lapse; end: expired
//	receipted  Suspend                suspended   customer, the grant's end: expired
//	disclosed  Suspend                suspended   customer, end of lease: values lapse; end: expired
//	suspended  Resume                 receipted or disclosed
//	granted…suspended  Revocation     revoked     vendor, its deadline: lapsed
//	granted…suspended  tick at end    expired     vendor, end + Duties.Deletion: lapsed
//	revoked, expired   Deletion       deleted     -
//	granted…suspended  Deletion       deleted     - (the vendor may end it by itself)
//	lapsed     Deletion               deleted     - (the lapse stays on record)
//
// A Deletion is owed only under a Grant that the vendor countersigned. Without a
// Receipt, revoked and expired are final. Offers are legal in disclosed alone and
// are deals of their own, which go on under duty keys after the agreement ended.
// Right and Answer leave the state alone and have a deadline of their own, kept in
// Rights, also after the end. Breach and Ack change nothing.
//
// # Deal
//
//	state      event              becomes     who acts next, by when, otherwise
//	none       Offer              offered     customer, Until: declined
//	offered    Decline            declined    -
//	offered    Accept             accepted    vendor, 14 days: cancelled
//	accepted   Confirm            confirmed   vendor, 90 days: cancelled
//	confirmed  Fulfil             fulfilled   customer, 14 days: closed
//	fulfilled  Close              closed      -
//	offered, accepted, confirmed  Cancel of either side  cancelled
//
// Accepted binds nobody but her: the vendor is bound by its Confirm. An Accept that
// arrives well after the offer's Until is answered with a Cancel. Where time
// cancels, each side sends a Cancel, so that the other hears it said. Disputed and
// resolved are reserved.
package flow
