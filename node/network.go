package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/strict"
	"github.com/harkmarket/hark/protocol/wire"
)

// NetworkSchema is the schema of a network file.
const NetworkSchema = "hark.network/1"

// A NetworkFile is a genesis document in readable form, with hints at where nodes of
// that network may be found. The id is worked out from the genesis document alone:
// the hints are outside it and may be changed by anyone.
type NetworkFile struct {
	Schema    string      `json:"schema"`
	ID        string      `json:"id"`
	Genesis   GenesisFile `json:"genesis"`
	Bootstrap []string    `json:"bootstrap,omitempty"`
}

// A GenesisFile is protocol.Genesis for people: spans in seconds.
type GenesisFile struct {
	Name       string        `json:"name"`
	Shards     uint16        `json:"shards"`
	Categories protocol.Hash `json:"categories"`
	Terms      protocol.Hash `json:"terms"`
	Lanes      []LaneFile    `json:"lanes"`
	Duties     DutiesFile    `json:"duties"`
	Salt       protocol.ID   `json:"salt"`
}

// A LaneFile is an admission lane.
type LaneFile struct {
	Lane   uint8 `json:"lane"`
	Effort uint8 `json:"effort"`
}

// DutiesFile are deadlines in seconds.
type DutiesFile struct {
	Deletion protocol.Second `json:"deletion"`
	Right    protocol.Second `json:"right"`
	Letters  protocol.Second `json:"letters"`
	Boxes    protocol.Second `json:"boxes"`
	Lease    protocol.Second `json:"lease"`
}

// ShowNetwork makes the file of a genesis document.
func ShowNetwork(g *protocol.Genesis, bootstrap []string) (NetworkFile, error) {
	id, _, err := wire.NetworkID(g)
	if err != nil {
		return NetworkFile{}, err
	}
	f := NetworkFile{Schema: NetworkSchema, ID: id.String(), Bootstrap: bootstrap, Genesis: GenesisFile{
		Name: g.Name, Shards: g.Shards, Categories: g.Categories, Terms: g.Terms, Duties: DutiesFile(g.Duties), Salt: g.Salt,
		Lanes: []LaneFile{},
	}}
	for _, l := range g.Lanes {
		f.Genesis.Lanes = append(f.Genesis.Lanes, LaneFile(l))
	}
	return f, nil
}

// Open checks a file and gives the genesis document and its id.
func (f NetworkFile) Open() (*protocol.Genesis, protocol.Hash, error) {
	g := &protocol.Genesis{
		V: protocol.Version, Name: f.Genesis.Name, Shards: f.Genesis.Shards, Categories: f.Genesis.Categories, Terms: f.Genesis.Terms,
		Duties: protocol.Duties(f.Genesis.Duties), Salt: f.Genesis.Salt,
	}
	for _, l := range f.Genesis.Lanes {
		g.Lanes = append(g.Lanes, protocol.LaneRule(l))
	}
	if f.Schema != NetworkSchema {
		return nil, protocol.Hash{}, fmt.Errorf("network file has schema %q, this program reads %s: %w", f.Schema, NetworkSchema, fault.Unsupported)
	}
	id, raw, err := wire.NetworkID(g)
	if err == nil {
		g, err = wire.OpenGenesis(raw) // the same rules as for one that came from elsewhere
	}
	if err != nil {
		return nil, id, fmt.Errorf("genesis document: %w", err)
	}
	if f.ID != id.String() {
		return nil, id, fmt.Errorf("network file says id %s, but its genesis document has %s: %w", f.ID, id, fault.Malformed)
	}
	return g, id, nil
}

// ReadNetwork reads a network file: at most MaxGenesis bytes of strict JSON.
func ReadNetwork(path string) (f NetworkFile, err error) {
	err = readStrict(path, protocol.MaxGenesis, &f)
	if errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("network file %s: %w", path, fault.NotFound)
	}
	if err != nil {
		return f, fmt.Errorf("network file %s: %w", path, err)
	}
	return f, nil
}

// readStrict reads a small JSON file. What is wrong within it is fault.Malformed.
func readStrict(path string, most int, v any) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	return strict.Read(in, most, v)
}

// Write writes the file.
func (f NetworkFile) Write(path string) error {
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("network file: %w", err)
	}
	return writeFile(path, append(raw, '\n'))
}

// NewGenesis drafts a genesis document with this program's category list, terms and
// default deadlines.
func NewGenesis(name string, shards uint16, lanes []protocol.LaneRule, salt protocol.ID) *protocol.Genesis {
	return &protocol.Genesis{
		V: protocol.Version, Name: name, Shards: shards, Categories: protocol.Categories().Digest(),
		Lanes: lanes, Terms: protocol.TermsRoster(), Duties: protocol.DefaultDuties, Salt: salt,
	}
}

// DefaultGenesis is the network that hark init joins unless told otherwise.
func DefaultGenesis() *protocol.Genesis {
	return NewGenesis("hark", 16, []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: 14}}, protocol.ID([]byte("hark, network one")[:16]))
}

// keepersOf reads hints such as /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3….
func keepersOf(texts []string) ([]protocol.Keeper, error) {
	var out []protocol.Keeper
	for _, text := range texts {
		k, err := address.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("bootstrap %q: %w", text, err)
		}
		out = append(out, k)
	}
	return out, nil
}

// maxBootstrap bounds the hints in the network file of a home.
const maxBootstrap = 256

// AddBootstrap adds hints at where public nodes may be found to a home's network file, and
// gives all that stand in it then. The running node reads them when it is started again.
func AddBootstrap(p Paths, addrs []string) ([]string, error) {
	if _, err := ReadSettings(p); err != nil {
		return nil, err
	}
	f, err := ReadNetwork(p.network())
	if err == nil {
		_, _, err = f.Open()
	}
	if err == nil {
		_, err = keepersOf(addrs)
	}
	if err != nil {
		return nil, err
	}
	for _, text := range addrs {
		if !slices.Contains(f.Bootstrap, text) {
			f.Bootstrap = append(f.Bootstrap, text)
		}
	}
	if len(f.Bootstrap) > maxBootstrap {
		return nil, fmt.Errorf("%d public nodes would stand in %s, at most %d: %w", len(f.Bootstrap), p.network(), maxBootstrap, fault.Full)
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err == nil && len(raw) >= protocol.MaxGenesis { // ReadNetwork would not read it back
		err = fmt.Errorf("%s would have %d bytes, at most %d: %w", p.network(), len(raw), protocol.MaxGenesis, fault.Full)
	}
	if err != nil {
		return nil, err
	}
	return f.Bootstrap, f.Write(p.network())
}
