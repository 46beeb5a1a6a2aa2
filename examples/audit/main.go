// Audit checks an exported ledger without a node and without any key: every entry
// against its commitment, the Merkle tree, and the device's signature under the head.
//
//	hark ledger export > ledger.ndjson
//	go run ./examples/audit ledger.ndjson
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/harkmarket/hark/store/ledger"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("name one file that hark ledger export wrote")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	report, err := ledger.VerifyExport(f)
	if err != nil {
		return fmt.Errorf("this is not the ledger that its device signed: %w", err)
	}
	day := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	fmt.Printf("%d entries, %d of them shredded, from %s to %s\n", report.Entries, report.Shredded, day(report.FirstMS), day(report.LastMS))
	fmt.Printf("root   %x\ndevice %s\n", report.Root, report.Head.Device)
	fmt.Println("Whoever holds the device's key signed exactly these entries, in this order.")
	return nil
}
