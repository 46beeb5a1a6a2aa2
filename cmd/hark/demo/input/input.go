// Package input reads what a demonstration is about: the needs of its customers and
// the catalogues of its vendors, from files or from the samples that come along.
//
//  1. a file of needs is checked to be text, and its separator and columns are
//     found; what a row is silent about takes its default;
//  2. each catalogue file is one vendor's; a vendor's own node reads it later;
//  3. without files, the sample needs are taken, and the sample catalogue is dealt to
//     the vendors by a seed.
package input

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/harkmarket/hark/protocol/fault"
)

// A Source says what to read.
type Source struct {
	Needs    string   // file; the sample where empty
	Catalogs []string // files; the sample, dealt to Vendors by Seed, where none
	Vendors  int
	Limit    int // at most so many needs
	Seed     uint64
}

// An Input is what a demonstration is about.
type Input struct {
	Needs   []Need
	Cut     int // names that were too long
	Skipped int // rows without a name
	Shops   []Shop
}

// A Shop is one vendor's name and catalogue.
type Shop struct {
	Name string
	File string // empty: the sample
	CSV  []byte
}

// maxFile bounds an input file.
const maxFile = 60 << 20 // what one import may have

// Read reads all of it.
func Read(o Source) (in Input, err error) {
	if o.Needs == "" {
		in, err = sampleNeeds(o.Limit)
	} else {
		var raw []byte
		if raw, err = readFile(o.Needs, maxNeedsFile); err == nil {
			in, err = parseNeeds(raw, o.Limit)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", o.Needs, err)
		}
	}
	if err != nil {
		return in, err
	}
	if len(o.Catalogs) == 0 {
		in.Shops, err = sampleShops(o.Vendors, o.Seed)
		return in, err
	}
	used := map[string]int{}
	for _, path := range o.Catalogs {
		raw, err := readFile(path, maxFile)
		if err != nil {
			return in, fmt.Errorf("%s: %w", path, err)
		}
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if used[name]++; used[name] > 1 {
			name = fmt.Sprintf("%s %d", name, used[name])
		}
		in.Shops = append(in.Shops, Shop{Name: Cut(Clean(name), 100), File: path, CSV: raw})
	}
	return in, nil
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no such file: %w", fault.NotFound)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("more than %d MiB: %w", most>>20, fault.Full)
	}
	return raw, err
}
