package key

// A Purpose says what an Ed25519 key signs. The set is closed: each purpose has
// its own text prefix, and a key of one is never accepted for another.
type Purpose interface {
	Account | Context | Depositor | Device | Duty | Issuer | Keeper | Mailbox | Operational | Root
	prefix() string
}

type (
	// Account is the one signing key of a customer that certifies her devices; it never meets a vendor.
	Account struct{}
	// Context signs announcements and first answers within one context of one customer.
	Context struct{}
	// Depositor signs deposits into a mailbox under a capability.
	Depositor struct{}
	// Device is the key of one device of an account.
	Device struct{}
	// Duty signs what outlives a grant's offers: receipts, revocations, deletions, rights. Both sides have one per grant.
	Duty struct{}
	// Issuer signs credentials and vouches for vendors.
	Issuer struct{}
	// Keeper signs a keeper's deposit receipts.
	Keeper struct{}
	// Mailbox authorises collecting from and deleting in one mailbox.
	Mailbox struct{}
	// Operational is a dated working key that a vendor's passport lists.
	Operational struct{}
	// Root signs a vendor's passports.
	Root struct{}
)

func (Account) prefix() string     { return "hkaccount1" }
func (Context) prefix() string     { return "hkcontext1" }
func (Depositor) prefix() string   { return "hkdepositor1" }
func (Device) prefix() string      { return "hkdevice1" }
func (Duty) prefix() string        { return "hkduty1" }
func (Issuer) prefix() string      { return "hkissuer1" }
func (Keeper) prefix() string      { return "hkkeeper1" }
func (Mailbox) prefix() string     { return "hkmailbox1" }
func (Operational) prefix() string { return "hkoperational1" }
func (Root) prefix() string        { return "hkroot1" }

// Shorter names for the public keys.
type (
	AccountKey     = Public[Account]
	ContextKey     = Public[Context]
	DepositorKey   = Public[Depositor]
	DeviceKey      = Public[Device]
	DutyKey        = Public[Duty]
	IssuerKey      = Public[Issuer]
	KeeperKey      = Public[Keeper]
	MailboxKey     = Public[Mailbox]
	OperationalKey = Public[Operational]
	RootKey        = Public[Root]
)

// A SealPurpose says which letters a KEM key opens. The set is closed.
type SealPurpose interface {
	ContextSeal | OfferSeal | DutySeal | RequestSeal | InboxSeal | PostSeal
	sealPrefix() string
}

type (
	// ContextSeal opens requests to one context.
	ContextSeal struct{}
	// OfferSeal opens the offers of one grant; it is destroyed when the grant is revoked.
	OfferSeal struct{}
	// DutySeal opens the letters of one grant that outlive its offers.
	DutySeal struct{}
	// RequestSeal opens the answer to one request of a vendor.
	RequestSeal struct{}
	// InboxSeal opens first letters to a vendor; its passport lists it.
	InboxSeal struct{}
	// PostSeal opens what is posted to a keeper by way of another; it lives for two days at most.
	PostSeal struct{}
)

func (ContextSeal) sealPrefix() string { return "hkcontextseal1" }
func (OfferSeal) sealPrefix() string   { return "hkofferseal1" }
func (DutySeal) sealPrefix() string    { return "hkdutyseal1" }
func (RequestSeal) sealPrefix() string { return "hkrequestseal1" }
func (InboxSeal) sealPrefix() string   { return "hkinboxseal1" }
func (PostSeal) sealPrefix() string    { return "hkpostseal1" }
