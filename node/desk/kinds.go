package desk

import "strings"

// LedgerKinds are the kinds of ledger entries, each of which is also told as an event.
func LedgerKinds() []string {
	return strings.Fields(`breach
		consent.budget consent.credit consent.rule-added consent.rule-removed counter.sent
		deal.accepted deal.cancelled deal.closed deal.confirmed deal.declined deal.fulfilled deletion.kept deletion.sent
		disclosure.fetched disclosure.kept disclosure.sent
		field.withdrawn
		grant.countered grant.deleted grant.disclosed grant.expired grant.given grant.granted grant.kept grant.lapsed
		grant.receipted grant.refused grant.requested grant.revoked grant.suspended
		held.deleted held.exported
		lapse lease.ended
		need.announced need.closed need.expired need.paused need.withdrawn
		offer.late offer.missed offer.opened offer.sent
		passport.issued payment.refused
		receipt.kept receipt.sent refusal.kept refusal.sent request.countered request.received request.refused request.sent request.snoozed revocation.kept
		right.answered right.fulfilled right.kept right.sent
		vault.about vault.forgotten vault.removed vault.set vendor.blocked vendor.unblocked
		voucher.given voucher.settled voucher.taken`)
}

// EventKinds are the kinds of events: those of the ledger, and what is told and not kept.
func EventKinds() []string {
	return append(LedgerKinds(), "disclosure.noroom", "node.locked", "node.ready", "node.unlocked", "request.unlawful", "request.waiting", "stamp.progress")
}

// LetterStates are how far a letter that was sent may have come.
func LetterStates() []string {
	return []string{"queued", "deposited", "done", "acked", "expired", "cancelled"}
}

// Within tells whether a kind of these, or what stands before the dot of some, is meant by a
// word; vault means all of vault.set, vault.about and so on, and so does vault with a dot.
func Within(kinds []string, word string) bool {
	for _, k := range kinds {
		if k == word || strings.HasPrefix(k, strings.TrimSuffix(word, ".")+".") {
			return true
		}
	}
	return false
}
