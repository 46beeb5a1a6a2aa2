package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/rules"
	"github.com/harkmarket/hark/protocol/wire/stamp"
)

// Small things of the mail are signed without an envelope: the signature covers
// LP(label) and then LP of each part. The label's length stands first, in four
// bytes of which the first is zero, so no such signature is one of an envelope.

func statement(l seal.Label, v any, parts ...[]byte) ([]byte, error) {
	raw, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(seal.LP(append([][]byte{[]byte(l)}, parts...)...), seal.LP(raw)...), nil
}

func signed[P key.Purpose](k key.Private[P], owner [32]byte, l seal.Label, v any, parts ...[]byte) ([]byte, error) {
	if k.IsZero() || k.Public() != owner {
		return nil, fmt.Errorf("wire: %s: not the key that signs it: %w", l, fault.Denied)
	}
	msg, err := statement(l, v, parts...)
	if err != nil {
		return nil, err
	}
	return k.Sign(msg), nil
}

func checkSig(by, sig []byte, l seal.Label, v any, parts ...[]byte) error {
	msg, err := statement(l, v, parts...)
	if err != nil {
		return err
	}
	if !key.Verify([32]byte(by), msg, sig) {
		return fmt.Errorf("wire: %s: signature: %w", l, fault.Denied)
	}
	return nil
}

// SignCapability signs c with the mailbox's key: LP("hark/1/capability") ‖ LP(c
// without key 7).
func SignCapability(k key.Private[key.Mailbox], c *protocol.Capability) (err error) {
	c.Sig = nil
	c.Sig, err = signed(k, c.Box, seal.LabelCapability, c)
	if err == nil {
		err = rules.Noun(c)
	}
	return err
}

// CheckCapability checks form, signature (fault.Denied) and date (fault.Expired).
func CheckCapability(c protocol.Capability, now protocol.Second) error {
	if err := rules.Noun(&c); err != nil {
		return err
	}
	sig := c.Sig
	c.Sig = nil
	if err := checkSig(c.Box[:], sig, seal.LabelCapability, c); err != nil {
		return err
	}
	if now >= c.Expires {
		return fmt.Errorf("wire: capability: %w", fault.Expired)
	}
	return nil
}

// SignOp signs an operation for one keeper and one stream, whose nonce came in its
// Hello: LP("hark/1/mail-op") ‖ LP(keeper) ‖ LP(nonce) ‖ LP(o without key 127). Box
// signs collect, subscribe, delete and revoke, Cap.Depositor a deposit under a
// capability. Other operations are not signed; k may be zero for them.
func SignOp[P key.Purpose](k key.Private[P], o *protocol.Op, keeper key.KeeperKey, nonce protocol.ID) (err error) {
	o.Sig = nil
	if signer, ok := rules.Signer(o); ok {
		o.Sig, err = signed(k, signer, seal.LabelMailOp, o, keeper[:], nonce[:])
	}
	if err == nil {
		err = rules.Noun(o)
	}
	return err
}

// CheckOp checks form and signature (fault.Denied). Whether a capability's own
// signature and date hold is CheckCapability's question.
func CheckOp(o *protocol.Op, keeper key.KeeperKey, nonce protocol.ID) error {
	if err := rules.Noun(o); err != nil {
		return err
	}
	signer, ok := rules.Signer(o)
	if !ok {
		return nil
	}
	bare := *o
	bare.Sig = nil
	return checkSig(signer[:], o.Sig, seal.LabelMailOp, bare, keeper[:], nonce[:])
}

// SignReceipt signs a deposit receipt with the keeper's key: LP("hark/1/deposit-
// receipt") ‖ LP(r without key 6).
func SignReceipt(k key.Private[key.Keeper], r *protocol.DepositReceipt) (err error) {
	r.Sig = nil
	r.Sig, err = signed(k, r.Keeper, seal.LabelDepositReceipt, r)
	if err == nil {
		err = rules.Noun(r)
	}
	return err
}

// CheckReceipt checks form and signature (fault.Denied).
func CheckReceipt(r protocol.DepositReceipt) error {
	if err := rules.Noun(&r); err != nil {
		return err
	}
	sig := r.Sig
	r.Sig = nil
	return checkSig(r.Keeper[:], sig, seal.LabelDepositReceipt, r)
}

// firstSigned is the part of a FirstContact that its signature covers.
func firstSigned(f *protocol.FirstContact) protocol.FirstContact {
	return protocol.FirstContact{Vendor: f.Vendor, Passport: f.Passport, Key: f.Key, Expires: f.Expires}
}

// SignFirst signs a first contact with the operational key that it names:
// LP("hark/1/first-contact") ‖ LP(box) ‖ LP(letter) ‖ LP(keeper) ‖ LP(keys 1 to 4).
func SignFirst(k key.Private[key.Operational], f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey) (err error) {
	f.Key = k.Public()
	f.Sig, err = signed(k, f.Key, seal.LabelFirstContact, firstSigned(f), box[:], letter[:], keeper[:])
	return err
}

// CheckFirst checks form, signature (fault.Denied) and date (fault.Expired) of a
// first contact. One to a vendor's inbox names no vendor and has no signature; a
// keeper of a customer's mailbox must ask for Vendor itself, and whether the
// passport lists Key. The stamp is FirstWork's question.
func CheckFirst(f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey, now protocol.Second) error {
	if err := rules.Noun(f); err != nil {
		return err
	}
	if f.Key.IsZero() {
		return nil
	}
	if err := checkSig(f.Key[:], f.Sig, seal.LabelFirstContact, firstSigned(f), box[:], letter[:], keeper[:]); err != nil {
		return err
	}
	if now >= f.Expires {
		return fmt.Errorf("wire: first contact: %w", fault.Expired)
	}
	return nil
}

// firstBase is what a first contact's stamp is ground over: LP("hark/1/first-stamp")
// ‖ box ‖ letter ‖ keeper ‖ vendor ‖ nonce.
func firstBase(f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey) []byte {
	base := seal.LP([]byte(seal.LabelFirstStamp))
	base = append(append(base, box[:]...), letter[:]...)
	base = append(append(base, keeper[:]...), f.Vendor[:]...)
	return binary.BigEndian.AppendUint64(base, 0)
}

// StampFirst is StampWorking for those who wait.
func StampFirst(f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey, effort uint8) {
	_ = StampWorking(f, box, letter, keeper, effort, nil) // nobody stops it
}

// StampWorking does the work of effort leading zero bits, at most MaxEffort; 0 takes
// the stamp off. step may be nil.
func StampWorking(f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey, effort uint8, step Step) error {
	f.Stamp = protocol.Admission{}
	if effort = min(effort, rules.MaxEffort); effort == 0 {
		return nil
	}
	nonce, err := stamp.Grind(firstBase(f, box, letter, keeper), effort, step)
	if err == nil {
		f.Stamp = protocol.Admission{Lane: protocol.LaneWork, Effort: effort, Nonce: nonce}
	}
	return err
}

// FirstWork is the work that counts for a first contact, in leading zero bits: what
// its stamp claims, if it is done, else 0. Luck beyond the claim does not count.
func FirstWork(f *protocol.FirstContact, box key.MailboxKey, letter protocol.Hash, keeper key.KeeperKey) int {
	claim := int(f.Stamp.Effort)
	if f.Stamp.Lane != protocol.LaneWork || stamp.Work(firstBase(f, box, letter, keeper), f.Stamp.Nonce) < claim {
		return 0
	}
	return claim
}

// SignVouch signs an issuer's word: LP("hark/1/vouch") ‖ LP(v without key 4).
func SignVouch(k key.Private[key.Issuer], v *protocol.Vouch) (err error) {
	v.Issuer, v.Sig = k.Public(), nil
	v.Sig, err = signed(k, v.Issuer, seal.LabelVouch, v)
	if err == nil {
		err = rules.Noun(v)
	}
	return err
}

// CheckVouch checks form, signature (fault.Denied) and date (fault.Expired).
func CheckVouch(v protocol.Vouch, now protocol.Second) error {
	if err := rules.Noun(&v); err != nil {
		return err
	}
	sig := v.Sig
	v.Sig = nil
	if err := checkSig(v.Issuer[:], sig, seal.LabelVouch, v); err != nil {
		return err
	}
	if now >= v.Expires {
		return fmt.Errorf("wire: vouch: %w", fault.Expired)
	}
	return nil
}
