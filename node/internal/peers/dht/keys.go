package dht

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// The namespaces of values.
const (
	spaceAnn      = "hark-ann"
	spacePassport = "hark-passport"
)

// Protocol is the DHT protocol of a network.
func Protocol(net protocol.Hash) string { return prefixOf(net) + "/kad/1.0.0" }

func prefixOf(net protocol.Hash) string { return "/hark/" + net.String() }

// AnnKey is under what the latest announcement of a context stands.
func AnnKey(c protocol.ContextID) string { return "/" + spaceAnn + "/" + fmt.Sprintf("%x", c[:]) }

// PassportKey is under what the passports of a vendor stand.
func PassportKey(v protocol.VendorID) string { return "/" + spacePassport + "/" + v.String() }

// readKey is the id in a value's key: 64 lower-case hexadecimal digits, so that one
// id has one key.
func readKey(space, key string) (id protocol.Hash, err error) {
	text, ours := strings.CutPrefix(key, "/"+space+"/")
	if !ours || id.UnmarshalText([]byte(text)) != nil || id.String() != text {
		return id, fmt.Errorf("dht: key %.100q: %w", key, fault.Malformed)
	}
	return id, nil
}

// KeeperPlace and shardPlace are where public nodes say that they keep mail, and
// which shards they follow.
func KeeperPlace() cid.Cid { return place([]byte("keeper")) }

func shardPlace(shards, i uint16) cid.Cid {
	return place(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte("shard"), shards), i))
}

func place(what []byte) cid.Cid {
	h := seal.Digest(seal.LabelPlace, what)
	m, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil {
		panic("dht: " + err.Error()) // only for unknown hashes
	}
	return cid.NewCidV1(cid.Raw, m)
}
