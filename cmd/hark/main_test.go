package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hark": main})
}

// TestScripts runs testdata/script/*.txt, each a session at a shell.
func TestScripts(t *testing.T) {
	testscript.Run(t, scripts())
}

func scripts() testscript.Params {
	return testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("HARK_UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HARK_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("HOME", e.WorkDir)
			own, err := exec.LookPath("hark") // for scripts that take everything else off the PATH
			e.Setenv("OWN", filepath.Dir(own))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "field": field, "eventually": eventually, "grab": grab, "large": large, "agekey": agekey, "agedecrypt": agedecrypt, "cutoff": cutoff,
		},
	}
}

// exits CODE COMMAND ARGS... runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// eventually COMMAND ARGS... runs a command again and again until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually command [args...]")
	}
	var err error
	for range 300 {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("not in 30 seconds: %v", err)
}

// grab FILE puts a line NAME=value of a file into the environment.
func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: grab file")
	}
	name, value, ok := strings.Cut(strings.TrimSpace(ts.ReadFile(args[0])), "=")
	if !ok || strings.Contains(value, "\n") {
		ts.Fatalf("want one line name=value, got %q", value)
	}
	ts.Setenv(name, value)
}

// field NAME puts what follows "NAME": in the last standard output into the
// environment variable of that name in capitals.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: field name")
	}
	_, rest, ok := strings.Cut(ts.ReadFile("stdout"), `"`+args[0]+`": "`)
	value, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		ts.Fatalf("no %q in the output", args[0])
	}
	ts.Setenv(strings.ToUpper(args[0]), value)
}

// grammar parses nothing: it is the model of all commands.
func grammar(t *testing.T) *kong.Kong {
	t.Helper()
	k, err := newParser(&app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEveryCommandIsDocumentedAndGrouped(t *testing.T) {
	want := strings.Fields(`init run stop status paths id peers network netcheck need interest request grant offer deal board follow access
		answer catalog passport held vault unlock lock rekey ledger events demo lab version completion`)
	var got []string
	for _, n := range grammar(t).Model.Children {
		got = append(got, n.Name)
		if n.Group == nil || n.Group.Title == "" {
			t.Errorf("%s is in no group of the help", n.Name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("there is no hark %s", name)
		}
	}
	for _, n := range grammar(t).Model.Leaves(false) {
		if n.Help == "" {
			t.Errorf("hark %s has no help", n.Path())
		}
		for _, f := range n.Flags {
			if f.Help == "" {
				t.Errorf("hark %s --%s has no help", n.Path(), f.Name)
			}
		}
		for _, arg := range n.Positional {
			if arg.Help == "" {
				t.Errorf("hark %s <%s> has no help", n.Path(), arg.Name)
			}
		}
	}
}

// TestFixesAreCommands: what hark status names as the way to mend a problem is there.
func TestFixesAreCommands(t *testing.T) {
	paths := map[string]bool{}
	for _, n := range grammar(t).Model.Leaves(false) {
		paths[n.FullPath()] = true
	}
	// unknown gives the commands in a text that are none: the longest path that the words
	// after hark make.
	unknown := func(text string) (wrong []string, known int) {
		for _, m := range regexp.MustCompile(`\bhark ([a-z]+(?: [a-z]+){0,2})`).FindAllStringSubmatch(text, -1) {
			words, hit := strings.Fields(m[1]), false
			for n := len(words); n > 0; n-- {
				hit = hit || paths["hark "+strings.Join(words[:n], " ")]
			}
			if known++; !hit {
				wrong = append(wrong, m[0])
			}
		}
		return wrong, known
	}
	if wrong, _ := unknown("hark vault erase FIELD; hark vault rm FIELD"); len(wrong) != 1 {
		t.Fatalf("a command that is none: %v", wrong)
	}
	total := 0
	for _, file := range []string{"admin.go", "keepers.go"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "node", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).FindAllString(string(raw), -1) {
			wrong, n := unknown(text)
			total += n
			if len(wrong) > 0 {
				t.Errorf("%s: %v is no command, in %s", file, wrong, text)
			}
		}
	}
	if total < 30 {
		t.Errorf("only %d commands are named", total)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{fault.Internal, 1},
		{fault.Conflict, 1},
		{usagef("what?"), 2},
		{fmt.Errorf("x: %w", client.ErrNotRunning), 3},
		{&client.Error{Status: 503, Kind: "offline", Code: "offline"}, 1},
		{&client.Error{Status: 401, Kind: "denied", Code: "unauthorised"}, 4},
		{&client.Error{Status: 423, Kind: "locked", Code: "locked"}, 4},
		{&client.Error{Status: 404, Kind: "not found", Code: "not-found"}, 5},
		{&client.Error{Status: 403, Kind: "denied", Code: "denied"}, 6},
		{&client.Error{Status: 504, Kind: "offline", Code: "timeout"}, 7},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 7},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestSpansAreSaidAsPeopleSayThem(t *testing.T) {
	for seconds, want := range map[int64]string{0: "0 seconds", 1: "1 second", 20: "20 seconds", 90: "1 minute 30 seconds", 3600: "1 hour",
		86_400: "1 day", 129_600: "1 day 12 hours", 7 * 86_400: "7 days", 400*86_400 + 1: "400 days 1 second", 90_061: "1 day 1 hour"} {
		if got := spanWords(seconds); got != want {
			t.Errorf("%d s: %q, want %q", seconds, got, want)
		}
	}
	var p page
	writeDuties(&p, map[string]int64{"deletion": 20, "lease": 86_400})
	if want := "A revoked vendor deletes within  20 seconds\nA disclosure holds for           1 day\n"; p.String() != want {
		t.Errorf("%q, want %q", p.String(), want)
	}
}

// TestProblemsFoundAreNoInternalError: what the demonstration found is what it is for.
func TestProblemsFoundAreNoInternalError(t *testing.T) {
	c := complain(fmt.Errorf("%w: 2 problems are named above", errNotAll))
	if c.Code != "problems-found" || c.Exit != exitError || c.Next == "" || !strings.HasPrefix(c.What, "not everything held: 2") {
		t.Errorf("%+v", c)
	}
}

func TestStrangersCannotDriveTheTerminal(t *testing.T) {
	p := &page{}
	p.table([]string{"NAME"}, [][]string{{"a\x1b[2Jb\u202ec\nd"}})
	if got := p.String(); strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

func TestSecretsNeverComeFromArguments(t *testing.T) {
	a := &app{stdin: strings.NewReader("from stdin\r\n")}
	if _, err := a.secret("hunter2", "HARK_X", "passphrase"); exitCode(err) != exitUsage || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an argument: %v", err)
	}
	if got, err := a.secret("-", "HARK_X", "passphrase"); err != nil || string(got) != "from stdin" {
		t.Errorf("%q, %v", got, err)
	}
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := a.secret("file:"+path, "HARK_X", "passphrase"); err != nil || string(got) != "from file" {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("HARK_X_FILE", path)
	if got, err := a.secret("", "HARK_X", "passphrase"); err != nil || string(got) != "from file" {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("HARK_X_FILE", "")
	if _, err := a.secret("", "HARK_X", "passphrase"); exitCode(err) != exitUsage {
		t.Errorf("nowhere: %v", err)
	}
	a.stdin = bytes.NewReader(make([]byte, maxSecret+1))
	if _, err := a.secret("-", "HARK_X", "passphrase"); err == nil {
		t.Error("a secret without an end was taken")
	}
}

func TestCompletionKnowsEveryCommand(t *testing.T) {
	k := grammar(t)
	places := placesOf(k.Model.Node, "hark", nil)
	for shell, script := range map[string]string{"bash": bash(places), "zsh": zsh(places), "fish": fish(places), "powershell": powershell(places)} {
		for _, n := range k.Model.Leaves(true) {
			name := n.Path()[strings.LastIndex(n.Path(), " ")+1:]
			if !strings.Contains(script, name) {
				t.Errorf("%s: no %q", shell, n.Path())
			}
			for _, f := range n.Flags {
				if has := strings.Contains(script, f.Name); has == f.Hidden && f.Name != "help" {
					t.Errorf("%s: %s --%s: offered %t, hidden %t", shell, n.Path(), f.Name, has, f.Hidden)
				}
			}
		}
	}
}

func TestBashCompletes(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on this machine")
	}
	script := bash(placesOf(grammar(t).Model.Node, "hark", nil))
	for line, want := range map[string]string{
		"hark ne": "network netcheck need", "hark need l": "list", "hark --json need ": "new preview list show stranger update renew withdraw",
		"hark init --profile ": "personal public", "hark answer rule s": "show set", "hark need new desk --max": "--max-price",
		"hark completion f": "fish", "hark run --mis": "",
	} {
		words := strings.Split(line, " ")
		drive := script + "\nCOMP_WORDS=("
		for _, w := range words {
			drive += fmt.Sprintf("%q ", w)
		}
		drive += fmt.Sprintf(")\nCOMP_CWORD=%d\n_hark\necho \"${COMPREPLY[*]}\"\n", len(words)-1)
		out, err := exec.Command(shell, "--norc", "-c", drive).CombinedOutput()
		got := strings.TrimSpace(string(out))
		if strings.HasSuffix(line, "need ") {
			got = strings.Join(strings.Fields(got)[:min(8, len(strings.Fields(got)))], " ")
		}
		if err != nil || got != want {
			t.Errorf("%q completes to %q, want %q (%v)", line, got, want, err)
		}
	}
}

func TestLanes(t *testing.T) {
	for text, ok := range map[string]bool{"0": true, "1:14": true, "1": false, "1:0": false, "2:3": false, "0:3": false, "": false, "1:999": false, "x": false} {
		if _, err := readLanes([]string{text}); (err == nil) != ok {
			t.Errorf("lane %q: %v", text, err)
		}
	}
}
