package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `{"Action":"output","Package":"p","Test":"TestMust_a_b","Output":"=== RUN   TestMust_a_b\n"}
{"Action":"pass","Package":"p","Test":"TestMust_a_b/sub","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestMust_a_b","Elapsed":0.5}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.5s\n"}
{"Action":"pass","Package":"p","Elapsed":0.5}
{"Action":"skip","Package":"no/tests"}
`

const skipShared = `{"Action":"output","Package":"p","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"p","Test":"TestX","Output":"    x_test.go:4: HARK_SHARED is not set\n"}
{"Action":"output","Package":"p","Test":"TestX","Output":"--- SKIP: TestX (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestX"}
`

func TestVerdict(t *testing.T) {
	const shared = "no-shared HARK_SHARED the data lies elsewhere\n"
	for _, c := range []struct {
		name, musts, skips, stream string
		shared                     bool
		want                       string // "" if all is well, else part of what is wrong
	}{
		{name: "good", musts: "a-b", stream: good},
		{name: "nothing ran", stream: `{"Action":"pass","Package":"p"}`, want: "no test ran"},
		{name: "plain text", stream: "go: cannot find main module\n", want: "no test ran"},
		{name: "must did not run", musts: "a-b\nc", stream: good, want: "TestMust_c must hold: did not run"},
		{name: "must only as a subtest", musts: "a-b\nsub", stream: good, want: "TestMust_sub must hold: did not run"},
		{name: "must not listed", musts: "c", stream: good, want: "TestMust_a_b in p is not on the list"},
		{name: "must skipped, though excused", musts: "a-b\nc", skips: "always TestMust_c we have our reasons\n",
			stream: good + `{"Action":"skip","Package":"p","Test":"TestMust_c"}`, want: "TestMust_c must hold: skip"},
		{name: "must failed in one of two packages", musts: "a-b",
			stream: `{"Action":"fail","Package":"q","Test":"TestMust_a_b"}` + "\n" + good, want: "TestMust_a_b must hold: fail"},
		{name: "skip", stream: good + skipShared, want: "TestX in p skipped without a named exception: x_test.go:4: HARK_SHARED is not set"},
		{name: "skip of a subtest", stream: good + `{"Action":"skip","Package":"p","Test":"TestX/one"}`, want: "TestX/one in p skipped"},
		{name: "skip excused", skips: shared, stream: good + skipShared},
		{name: "skip no longer excused", skips: shared, stream: good + skipShared, shared: true, want: "TestX in p skipped"},
		{name: "skip excused by a check", skips: "check TestX that is another kind\n", stream: good + skipShared, want: "TestX in p skipped"},
		{name: "stale exception", musts: "a-b", skips: "always TestGone it is gone now\n", stream: good, want: `"TestGone" excuses nothing`},
		{name: "fail", stream: good + `{"Action":"fail","Package":"p","Test":"TestY"}`, want: "TestY in p failed"},
		{name: "build", stream: good + `{"Action":"build-fail","ImportPath":"q [q.test]"}`, want: "q [q.test] does not build"},
		{name: "exit", stream: good + `{"Action":"fail","Package":"q"}`, want: "package q failed"},
		{name: "never ended", stream: good + `{"Action":"output","Package":"q","Test":"TestZ","Output":"panic: test timed out\n"}` + "\n" +
			`{"Action":"fail","Package":"q"}`, want: "TestZ in q did not end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, ok := run(t, c.musts, c.skips, c.stream, c.shared)
			if ok != (c.want == "") || !strings.Contains(said, c.want) {
				t.Errorf("ok %v, want %q in:\n%s", ok, c.want, said)
			}
		})
	}
}

func TestExceptionsNeedAReason(t *testing.T) {
	for _, text := range []string{"always TestX", "always TestX because so", "sometimes TestX it is a bad day", "always [ it does not parse"} {
		if err := newJudge(nil).readExceptions(write(t, text), false); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if err := newJudge(nil).readMusts(write(t, "# nothing\n")); err == nil {
		t.Error("an empty list of what must hold was taken")
	}
}

func run(t *testing.T, musts, skips, stream string, shared bool) (string, bool) {
	t.Helper()
	out := &strings.Builder{}
	j := newJudge(out)
	if musts != "" {
		musts = write(t, musts)
	}
	for _, err := range []error{j.readExceptions(write(t, skips), shared), j.readMusts(musts), j.read(strings.NewReader(stream))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ok := j.close()
	return out.String(), ok
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
