package main

import (
	"flag"
	"os"
	"testing"
	"testing/synctest"
)

// bubble runs do in a bubble of fake time, and ends the program: with 0 where do is
// content, else with 1. A bubble takes a test, so this makes one, as the program that
// go test builds does; what the test prints goes to standard error.
func bubble(do func(t *testing.T) bool) {
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil { // our arguments are none of its business
		panic("hark-lab: " + err.Error())
	}
	os.Stdout = os.Stderr
	match := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(match, []testing.InternalTest{{Name: "run", F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if !do(t) {
				t.Fail()
			}
		})
	}}}, nil, nil)
}
