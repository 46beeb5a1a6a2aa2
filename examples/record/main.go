// Record reads what hark grant export wrote, in any of its formats, without a node and
// without any key, says in plain words who may use what until when, and writes it in
// another format if one is named.
//
//	hark grant export --all --out grants.jsonld
//	go run ./examples/record grants.jsonld
//	go run ./examples/record grants.jsonld csv > grants.csv
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/record"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("name one file that hark grant export wrote, and a format if it is to be written in another")
	}
	raw, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	format, err := record.Detect(raw)
	if err != nil {
		return err
	}
	// Decode accepts exactly what Encode writes: nothing in the file goes unread.
	entries, err := record.Decode(format, raw)
	if err != nil {
		return err
	}
	if len(args) == 2 {
		out, err := record.Encode(record.Format(args[1]), entries)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(out)
		return err
	}
	for _, e := range entries {
		tell(e)
	}
	return nil
}

// tell says what one grant says. What a vendor wrote is quoted.
func tell(e record.Entry) {
	fmt.Printf("grant %s: %q, %s\n", e.Grant.Short(), e.Vendor.Name, strings.TrimPrefix(e.Last().Term(), "dpv:"))
	for _, f := range e.Fields {
		fmt.Printf("  %s, to %s, kept for %d days\n", f.Name, f.Purpose, f.Retention)
	}
	for _, s := range e.Statuses {
		fmt.Printf("  %s %s\n", day(s.At), strings.TrimPrefix(s.State.Term(), "dpv:"))
	}
	for _, d := range e.Disclosures {
		fmt.Printf("  %s disclosed %d fields under lease %d\n", day(d.At), len(d.Fields), d.Lease)
	}
	if e.Countersigned > 0 {
		fmt.Printf("  both sides signed; the vendor's receipt is %s\n", e.Letters.Receipt)
	}
}

func day(s protocol.Second) string { return time.Unix(int64(s), 0).UTC().Format(time.RFC3339) }
