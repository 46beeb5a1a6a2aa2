package desk

// What people are told in the same words wherever they are told it: by the command line
// and by pages.

// AfterRevoking says what revoking a grant does.
const AfterRevoking = "The keys to further offers are destroyed, what lay undelivered is deleted, and the vendor owes you a signed deletion by the date shown. If it does not come, that is recorded with its proof."

// CannotUndo says what revoking can't undo.
var CannotUndo = []string{
	"What a vendor has read it has read: a copy that it made outside its Hark node is not found by Hark, and its signed deletion is a promise that you can hold it to.",
	"A disclosure that reached its mailbox before you revoked can still be opened by it; its node deletes what it opens.",
	"Deals that you accepted go on until they are closed or cancelled, with what they need.",
	"What the law makes it keep, such as an invoice, it may keep; its answer has to say so.",
	"Your ledger goes on to say that you gave and revoked, for your own proof.",
}
