package main

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/lab"
)

// figures plays a scenario and works out what came of it.
func figures(t *testing.T, text string) (f lab.Figures, all []lab.Record) {
	t.Helper()
	s, err := lab.Parse("test", []byte("engine = \"simulated\"\n"+text))
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t, s, s.Seed, &out, io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := lab.ReadRecords(&out, func(r lab.Record) { all = append(all, r) }); err != nil {
			t.Error(err)
		}
	})
	for _, r := range all {
		if r.Error != "" {
			t.Errorf("%+v", r)
		}
	}
	return lab.Compute(s, s.Seed, all), all
}

// TestSpiesAreKeepers: spies see what is handed to them as keepers, and by whom; who lets
// strangers take a need on is found, and who does not is not.
func TestSpiesAreKeepers(t *testing.T) {
	const market = "duration = \"12s\"\nsettle = \"2s\"\n[network]\npublic = 4\npersonal = 4\n[spies]\ncount = 3\n[load]\nneeds = 24\n"
	f, all := figures(t, market)
	posts := func(r lab.Record) bool {
		return r.Kind == lab.KindSpied && r.What == "post" && r.From != "" && r.Next != ""
	}
	if k := f.Keepers; !slices.ContainsFunc(all, posts) || k.OwnKeepers == nil || *k.OwnKeepers < 0.9 {
		t.Errorf("spies that keep a need do not know its author: %+v", k)
	}
	if k := f.Keepers; k.Guesses == 0 || *k.Times > 2 {
		t.Errorf("spies know of needs that none of them keeps: %d of them, %v times chance", k.Guesses, *k.Times)
	}
	f, _ = figures(t, market+"post_by = \"strangers\"\n")
	if k := f.Keepers; k.Guesses == 0 || *k.Times <= 2 {
		t.Errorf("strangers take needs on, and nobody is found: %d needs, %v times chance", k.Guesses, *k.Times)
	}
}

// TestLiarsKeepLetters: letters that rest at keepers one or two of which lie arrive, each
// is acted on once, and no honest keeper is named.
func TestLiarsKeepLetters(t *testing.T) {
	f, all := figures(t, "duration = \"45s\"\nsettle = \"30s\"\n[network]\npublic = 2\npersonal = 2\n[load]\nneeds = 2\npost_delay = \"5s\"\n"+
		"[letters]\nvendors = 2\naway = \"30s\"\n[liars]\ncount = 2\nhow = [\"alter\", \"wipe\"]\n")
	k := f.Keepers
	if k.Letters < 16 || *k.Delivered != 1 || *k.Twice != 0 || *k.Slandered != 0 || *k.Lied != 1 {
		t.Errorf("%d letters, %+v", k.Letters, k)
	}
	lost := func(r lab.Record) bool { return r.Kind == lab.KindLife && r.Node == "liar-2" && r.Life == 3 }
	if !slices.ContainsFunc(all, lost) {
		t.Error("who wipes has lost nothing")
	}
	if k.Mail.Max < 20_000 {
		t.Errorf("nothing rested at a keeper: %+v", k.Mail)
	}
}

// TestMailboxesAreFlooded: a keeper keeps so many requests of a need and no more, and those
// of vendors that its issuer vouches for; where it names no issuer, the flood's.
func TestMailboxesAreFlooded(t *testing.T) {
	const flood = "duration = \"10s\"\nsettle = \"1m\"\n[network]\npublic = 3\npersonal = 1\n[load]\nneeds = 1\n[mail_flood]\nidentities = 64\naddresses = 2\nvouched = 8\n"
	f, _ := figures(t, flood)
	if k := f.Keepers; k.FloodKept == nil || *k.FloodKept != 64 || *k.FloodIn != 1 || *k.FloodOut != 0.875 {
		t.Errorf("%+v", k)
	}
	f, _ = figures(t, flood+"named = false\n")
	if k := f.Keepers; *k.FloodKept != 64 || *k.FloodIn > 0.5 {
		t.Errorf("the need names no issuer, and its vendors come first: %v", *k.FloodIn)
	}
}
