package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestAgeOpensTheExport: the age tool itself, as people have it, opens what hark vault
// export wrote, by a key and by a passphrase typed at a terminal, and nothing else does.
func TestAgeOpensTheExport(t *testing.T) {
	tool := ageTool(t)
	p := scripts()
	p.Dir, p.Files = "", []string{"testdata/age.txt"}
	p.Cmds["realage"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != 3 {
			ts.Fatalf("usage: [!] realage file key-or-passphrase out")
		}
		if err := openWithAge(tool, ts.MkAbs(args[0]), ts.MkAbs(args[1]), ts.MkAbs(args[2])); (err != nil) != neg {
			ts.Fatalf("age %s: %v", args[0], err)
		}
	}
	testscript.Run(t, p)
}

// ageTool is the one on the PATH, or else that of the module whose library hark uses.
func ageTool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("age"); err == nil {
		return path
	}
	path := filepath.Join(t.TempDir(), "age")
	if out, err := exec.Command("go", "build", "-o", path, "filippo.io/age/cmd/age").CombinedOutput(); err != nil {
		t.Fatalf("age cannot be built: %v\n%s", err, out)
	}
	return path
}

// openWithAge runs age -d with an identity, or at a terminal, which gets the passphrase.
func openWithAge(tool, file, keyFile, out string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(key), "AGE-SECRET-KEY-") {
		said, err := exec.Command(tool, "--decrypt", "--identity", keyFile, "--output", out, file).CombinedOutput()
		return whatItSaid(err, said)
	}
	ours, its, err := terminal()
	if err != nil {
		return err
	}
	defer ours.Close()
	var said bytes.Buffer
	cmd := exec.Command(tool, "--decrypt", "--output", out, file)
	cmd.Stdin, cmd.Stderr = its, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	its.Close()
	if err != nil {
		return err
	}
	// It asks before it reads. Where it ends without asking, the terminal ends too.
	var asked []byte
	for !bytes.Contains(asked, []byte("assphrase")) {
		buf := make([]byte, 256)
		n, err := ours.Read(buf)
		if asked = append(asked, buf[:n]...); err != nil || len(asked) > 1<<16 {
			return whatItSaid(fmt.Errorf("age asks for nothing: %q, %w", asked, cmd.Wait()), said.Bytes())
		}
	}
	if _, err := ours.WriteString(strings.TrimSpace(string(key)) + "\n"); err != nil {
		return err
	}
	err = cmd.Wait()
	return whatItSaid(err, said.Bytes())
}

func whatItSaid(err error, said []byte) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, said)
}

// terminal makes a pseudo-terminal: our end, and that of the program in it.
func terminal() (ours, its *os.File, err error) {
	if ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	var locked, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(value))); no != 0 {
			ours.Close()
			return nil, nil, no
		}
	}
	if its, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		ours.Close()
	}
	return ours, its, err
}
