package nodetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// network chooses the network on which a story plays: pipes, or simulated with pairs
// of latency, loss and seed.
func (s *Story) network(a []string) (err error) {
	if s.w != nil {
		return fmt.Errorf("the network is chosen in the first line")
	}
	if a[0] == "pipes" {
		s.w = NewWorld(s.t)
		return nil
	}
	if a[0] != "simulated" {
		return fmt.Errorf("network %q is neither pipes nor simulated", a[0])
	}
	var cfg SimConfig
	for pair := range slices.Chunk(a[1:], 2) {
		switch {
		case len(pair) < 2:
			err = fmt.Errorf("%s has no value", pair[0])
		case pair[0] == "latency":
			cfg.Latency, err = time.ParseDuration(pair[1])
		case pair[0] == "loss":
			cfg.Loss, err = share(pair[1])
		case pair[0] == "seed":
			cfg.Seed, err = strconv.ParseUint(pair[1], 10, 64)
		default:
			err = fmt.Errorf("%q is none of latency, loss and seed", pair[0])
		}
		if err != nil {
			return err
		}
	}
	s.w = NewSimWorld(s.t, cfg)
	return nil
}

// share reads "5%".
func share(text string) (float64, error) {
	n, ok := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(n, 64)
	if !ok || err != nil || f < 0 || f > 100 {
		return 0, fmt.Errorf("%q is no share such as 5%%", text)
	}
	return f / 100, nil
}

// loss lets so many packets get lost from now on.
func (s *Story) loss(a []string) error {
	f, err := share(a[0])
	if err != nil {
		return err
	}
	if s.w.Weather() == nil {
		return fmt.Errorf("pipes lose nothing: begin the story with network simulated")
	}
	s.w.Weather().SetLoss(f)
	return nil
}

// partition cuts the network: "partition a b | c d".
func (s *Story) partition(a []string) error {
	groups := [][]*Member{nil}
	for _, name := range a {
		if name == "|" {
			groups = append(groups, nil)
			continue
		}
		m, err := s.node(name)
		if err != nil {
			return err
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], m)
	}
	if len(groups) < 2 {
		return fmt.Errorf("a partition has two sides, with | between them")
	}
	s.w.Partition(groups...)
	return nil
}

// clock puts a node's clock wrong: +1h, -90m, or 0s to mend it.
func (s *Story) clock(m *Member, a []string) error {
	d, err := time.ParseDuration(a[0])
	if err == nil {
		m.SetClock(d)
	}
	return err
}
