// Audit checks what a node has handed out, without a node and without any key: a ledger
// against the heads that vendors have countersigned, every letter against the passport
// of its signer, and several files against each other. It then lists who has
// countersigned what. The program hark-audit does the same and says more.
//
//	hark ledger export ledger.ndjson
//	go run ./examples/audit ledger.ndjson
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/harkmarket/hark/store/ledger/audit"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	if len(files) == 0 {
		return errors.New("name one file that hark ledger export wrote, or several to hold against each other")
	}
	auditor := audit.New(time.Now(), false)
	for _, name := range files {
		if err := add(auditor, name); err != nil {
			return err
		}
	}
	verdict := auditor.Verdict()
	for _, f := range verdict.Files {
		fmt.Printf("%s: %d entries, %d shredded, %d grants, %d receipts, %d deletions, %d lapses\n", f.File, f.Entries, f.Shredded, f.Grants, f.Receipts, f.Deleted, f.Lapses)
		fmt.Printf("root   %s\ndevice %s\n", f.Root, f.Device)
		fmt.Printf("heads  %d that vendors have countersigned\n", f.Heads)
	}
	if !verdict.OK {
		for _, p := range verdict.Problems {
			fmt.Println("WRONG:", p)
		}
		return errors.New("this is not the ledger that its device signed")
	}
	for _, s := range verdict.Proven {
		fmt.Println("proven:", s)
	}
	for _, s := range verdict.Unproven {
		fmt.Println("not proven:", s)
	}
	return nil
}

func add(a *audit.Auditor, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	return a.Add(name, f)
}
