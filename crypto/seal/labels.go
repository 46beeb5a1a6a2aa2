package seal

// A Label separates uses: it stands first, length-prefixed, in every hash, key
// derivation and authenticated header of this protocol. Two uses never share a
// label. Add new ones here, keep them sorted within their group, and never change
// one that has left this machine.
//
// The domains of signed envelopes also start with "hark/1/". They enter signatures
// only, never a hash or a key of this table.
type Label string

// Locks and authentication.
const (
	LabelBlob     Label = "hark/1/blob"     // chunks of a large value, each with its place
	LabelBody     Label = "hark/1/body"     // commitment to an announcement's body
	LabelCopy     Label = "hark/1/copy"     // chunks of a large value as it is handed to one vendor
	LabelDisclose Label = "hark/1/disclose" // exporter of the Grant letter: the key that authenticates Disclosures
	LabelMAC      Label = "hark/1/mac"      // MAC
	LabelOffer    Label = "hark/1/offer"    // inner lock of an offer, under the grant's offer secret
	LabelRecord   Label = "hark/1/record"   // records at rest
	LabelSeal     Label = "hark/1/seal"     // HPKE info of letters
)

// Names and commitments.
const (
	LabelCapability   Label = "hark/1/capability"    // what a mailbox capability signs and is named by
	LabelConsentRule  Label = "hark/1/consent-rule"  // what names one of her rules in the ledger
	LabelGrant        Label = "hark/1/grant"         // id of a grant
	LabelLedgerBlind  Label = "hark/1/ledger-blind"  // head as a counterparty sees it
	LabelLedgerBundle Label = "hark/1/ledger-bundle" // file with a ledger and the letters beside it
	LabelLedgerHead   Label = "hark/1/ledger-head"   // head as its owner signs it
	LabelLedgerLeaf   Label = "hark/1/ledger-leaf"   // salted commitment to an entry
	LabelMailOp       Label = "hark/1/mail-op"       // operation on a mailbox
	LabelPassport     Label = "hark/1/passport"      // vendor id, and the commitment to the next root key
	LabelPlace        Label = "hark/1/place"         // where the DHT keeps who offers a service
	LabelShard        Label = "hark/1/shard"         // gossip shard of a category and region
	LabelStamp        Label = "hark/1/stamp"         // admission by work
	LabelSync         Label = "hark/1/sync"          // what an announcement adds to the fingerprint of a range
	LabelSyncPrint    Label = "hark/1/sync-print"    // fingerprint of a range
	LabelVaultName    Label = "hark/1/vault-name"    // names of records on disk
)

// Keys derived from a secret.
const (
	LabelAccountSign    Label = "hark/1/account-sign"    // account key, from the root
	LabelBackupSeal     Label = "hark/1/backup-seal"     // backup KEM key, from the root
	LabelContextMailbox Label = "hark/1/context-mailbox" // mailbox key, from the context secret
	LabelContextSeal    Label = "hark/1/context-seal"    // KEM key, from the context secret
	LabelContextSign    Label = "hark/1/context-sign"    // signing key, from the context secret
	LabelCopyFrom       Label = "hark/1/copy-from"       // what a keeper knows the address prefix by that a copy came from
	LabelCopyToken      Label = "hark/1/copy-token"      // what a keeper is shown for a copy, from the copy's key
	LabelDevice         Label = "hark/1/device"          // what a device keeps for itself
	LabelVaultEpoch     Label = "hark/1/vault-epoch"     // lock of the vault's epoch keys, from the vault's secret
)

// Small signed things of the mail.
const (
	LabelDepositReceipt Label = "hark/1/deposit-receipt" // a keeper's word that it holds a letter
	LabelFirstContact   Label = "hark/1/first-contact"   // a vendor's signature beside a letter without capability
	LabelFirstStamp     Label = "hark/1/first-stamp"     // work beside such a letter
	LabelNextRoot       Label = "hark/1/next-root"       // commitment to a vendor's next root key
	LabelPostKey        Label = "hark/1/post-key"        // a keeper's word for the key that posts to it are sealed to
	LabelVouch          Label = "hark/1/vouch"           // an issuer's word for a vendor
)
