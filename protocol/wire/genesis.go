package wire

import (
	"encoding/binary"
	"math/bits"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

// NetworkID gives a network's id, SHA-256 of its genesis document, and the document.
func NetworkID(g *protocol.Genesis) (protocol.Hash, []byte, error) {
	if err := rules.Noun(g); err != nil {
		return protocol.Hash{}, nil, err
	}
	raw, err := Marshal(g)
	if err != nil {
		return protocol.Hash{}, nil, err
	}
	return ID(raw), raw, nil
}

// OpenGenesis reads a genesis document.
func OpenGenesis(raw []byte) (*protocol.Genesis, error) {
	g := new(protocol.Genesis)
	if err := Unmarshal(raw, g, protocol.MaxGenesis); err != nil {
		return nil, err
	}
	return g, nil
}

// Shard gives the gossip shard of a category and region among shards, a power of
// two: the top log2(shards) bits of SHA-256(LP("hark/1/shard") ‖ sector ‖ 0x00 ‖
// country).
func Shard(category protocol.Category, region protocol.Region, shards uint16) uint16 {
	sum := seal.Digest(seal.LabelShard, []byte(category.Sector()), []byte{0}, []byte(region.Country()))
	top := bits.Len16(shards) - 1
	return uint16(uint32(binary.BigEndian.Uint16(sum[:])) >> (16 - max(top, 0)))
}
