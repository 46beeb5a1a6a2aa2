package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Listed is what a list says of one result folder.
type Listed struct {
	Folder   string       `json:"folder"`
	Name     string       `json:"name"`
	Engine   string       `json:"engine"`
	Seeds    []uint64     `json:"seeds"`
	Started  time.Time    `json:"started,omitzero"` // absent: it has no figures yet
	Headline []lab.Spread `json:"headline"`
	Problems []string     `json:"problems"` // in the engine, and of the folder itself
}

// maxListed bounds a list.
const maxListed = 1000

// List reads what the result folders in a folder say of themselves, or the folder
// itself where it is one: those without figures first, then the newest first. No figure
// is computed.
func List(dir string) ([]Listed, error) {
	if isResult(dir) {
		return []Listed{listed(dir)}, nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such folder: %w", dir, fault.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("list of result folders: %w", err)
	}
	out := []Listed{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || !isResult(path) {
			continue
		}
		if len(out) == maxListed {
			return nil, fmt.Errorf("%s holds more than %d result folders: %w", dir, maxListed, fault.Full)
		}
		out = append(out, listed(path))
	}
	slices.SortStableFunc(out, func(a, b Listed) int {
		switch {
		case a.Started.IsZero() == b.Started.IsZero():
			return b.Started.Compare(a.Started)
		case a.Started.IsZero():
			return -1
		}
		return 1
	})
	return out, nil
}

// isResult tells whether a folder is one that Create made: a scenario, and raw data.
func isResult(dir string) bool {
	file, err := os.Stat(filepath.Join(dir, scenarioFile))
	if err != nil || !file.Mode().IsRegular() {
		return false
	}
	raw, err := os.Stat(filepath.Join(dir, rawFolder))
	return err == nil && raw.IsDir()
}

// listed reads run.json. A folder that has none yet, or a broken one, says so.
func listed(dir string) Listed {
	l := Listed{Folder: dir, Seeds: []uint64{}, Headline: []lab.Spread{}, Problems: []string{}}
	res, err := readResult(dir)
	switch {
	case err != nil:
		l.Problems = append(l.Problems, err.Error())
	case res.Name == "":
		l.Problems = append(l.Problems, "no figures yet: it is being run, or was broken off; hark lab report computes them")
	}
	if err != nil || res.Name == "" {
		l.Name, l.Engine = named(dir)
		return l
	}
	l.Name, l.Engine, l.Started = res.Name, res.Engine, res.Made.Started
	l.Seeds, l.Headline, l.Problems = append(l.Seeds, res.Seeds...), append(l.Headline, res.Headline...), append(l.Problems, res.Made.Problems...)
	return l
}

// named is what the scenario of a folder without figures says.
func named(dir string) (name, engine string) {
	raw, err := readAtMost(filepath.Join(dir, scenarioFile), maxResult)
	if err != nil {
		return "", ""
	}
	s, err := lab.Parse(dir, raw)
	if err != nil {
		return "", ""
	}
	return s.Name, s.Engine
}
