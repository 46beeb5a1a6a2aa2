package wire

import (
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// SealedPost is the size of every sealed post: whoever passes one on learns nothing
// from its length.
const SealedPost = rules.SealedPost

// SignPostKey signs a post key with the keeper's key: LP("hark/1/post-key") ‖ LP(p
// without key 4).
func SignPostKey(k key.Private[key.Keeper], p *protocol.PostKey) (err error) {
	p.Sig = nil
	p.Sig, err = signed(k, p.Keeper, seal.LabelPostKey, p)
	if err == nil {
		err = rules.Noun(p)
	}
	return err
}

// CheckPostKey checks form, signature (fault.Denied) and date (fault.Expired): one
// that would live longer than MaxPostKey, and a clock's error, is none.
func CheckPostKey(p protocol.PostKey, now protocol.Second) error {
	if err := rules.Noun(&p); err != nil {
		return err
	}
	sig := p.Sig
	p.Sig = nil
	if err := checkSig(p.Keeper[:], sig, seal.LabelPostKey, p); err != nil {
		return err
	}
	if now >= p.Expires || p.Expires > now+protocol.MaxPostKey+protocol.MaxSkew {
		return fmt.Errorf("wire: post key: %w", fault.Expired)
	}
	return nil
}

// postAAD binds a sealed post to the keeper that shall publish it.
func postAAD(keeper key.KeeperKey) []byte { return seal.LP(keeper[:]) }

// SealPost seals a post to a keeper's post key: encapsulated key ‖ ciphertext of one
// bucket, whatever is inside. Whether the key is the keeper's is CheckPostKey's
// question.
func SealPost(to protocol.PostKey, net protocol.Hash, p protocol.Post) ([]byte, error) {
	if err := rules.Noun(&p); err != nil {
		return nil, err
	}
	plain, err := Marshal(p)
	if err != nil {
		return nil, err
	}
	padded, err := seal.PadFull(plain, rules.PostBucket)
	if err != nil {
		return nil, fmt.Errorf("wire: post (%w): %w", err, fault.Malformed)
	}
	sealer, err := seal.NewSealer(to.Seal, seal.Post, net)
	if err != nil {
		return nil, fmt.Errorf("wire: post (%w): %w", err, fault.Malformed)
	}
	sealed, err := sealer.Seal(postAAD(to.Keeper), padded)
	if err != nil {
		return nil, fmt.Errorf("wire: post (%w): %w", err, fault.Malformed)
	}
	return append(sealer.Enc()[:seal.EncSize:seal.EncSize], sealed...), nil
}

// OpenPost opens what was posted to a keeper: fault.Denied where it does not open
// under this key, for this keeper, on this network.
func OpenPost(k key.Decapsulation[key.PostSeal], net protocol.Hash, keeper key.KeeperKey, raw []byte) (protocol.Post, error) {
	var p protocol.Post
	if len(raw) != SealedPost {
		return p, fmt.Errorf("wire: sealed post of %d bytes, not %d: %w", len(raw), SealedPost, fault.Malformed)
	}
	padded, _, err := seal.Open(k, seal.Post, net, raw[:seal.EncSize], postAAD(keeper), raw[seal.EncSize:])
	if err != nil {
		return p, fmt.Errorf("wire: post (%w): %w", err, fault.Denied)
	}
	return readPost(padded)
}

// readPost reads the padded text of a post.
func readPost(padded []byte) (p protocol.Post, err error) {
	plain, err := seal.UnpadFull(padded, rules.PostBucket)
	if err != nil {
		return p, fmt.Errorf("wire: post (%w): %w", err, fault.Malformed)
	}
	return p, Unmarshal(plain, &p, rules.PostBucket)
}
