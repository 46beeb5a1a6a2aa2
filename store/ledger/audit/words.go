package audit

import (
	"fmt"
	"slices"

	"github.com/harkmarket/hark/store/ledger"
)

// maxSaid bounds what a verdict says of single grants; the figures count all.
const maxSaid = 200

func add(list *[]string, text string) {
	if len(*list) < maxSaid && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// say adds the words of one case.
func (a *Auditor) say(f *read, j *judged) {
	for _, s := range j.proven {
		add(&a.verdict.Proven, f.File.File+": "+s)
	}
	for _, s := range j.unproven {
		add(&a.verdict.Unproven, s)
	}
	if j.r != nil {
		add(&a.verdict.Unproven, "What was disclosed: a disclosure carries no signature but a code that both sides can make, so neither can hold the other to its words.")
	}
}

// words says what a whole file proves.
func (a *Auditor) words(f *read) {
	switch f.Form {
	case BundleSchema, ledger.Schema:
		add(&a.verdict.Proven, fmt.Sprintf("%s: whoever holds the key of device %s signed, on %s, exactly these %d entries in this order.", f.File.File, f.Device, moment(f.AtMS), f.Entries))
		if n := f.Shredded + f.Withheld; n > 0 {
			add(&a.verdict.Proven, fmt.Sprintf("%s: of %d entries only the commitment is there (%d were shredded, %d bodies left out). What is shown of them later can be checked against it.", f.File.File, n, f.Shredded, f.Withheld))
		}
		if f.Heads > 0 {
			add(&a.verdict.Proven, fmt.Sprintf("%s: vendors have countersigned %d heads of this ledger. Up to the largest of them its owner has rewritten nothing since.", f.File.File, f.Heads))
		}
		add(&a.verdict.Unproven, "That what an entry says is true, or that everything that happened has an entry: a ledger is its owner's own word, which she cannot change later.")
		add(&a.verdict.Unproven, "Who holds the device's key: that has to be known from elsewhere.")
	}
	if f.Form == ledger.Schema || f.bundle && f.Heads == 0 {
		add(&a.verdict.Unproven, f.File.File+": that the ledger was not rewritten before it was signed: no countersigned head of it is in this file to hold it against. A vendor's receipt, given beside it, is one.")
	}
}

// proved says what a proof proves.
func (a *Auditor) proved(f *read, p Proof) {
	what := fmt.Sprintf("says this: %s of %s", clean(p.Entry.Kind), moment(p.Entry.AtMS))
	if p.Entry.Shredded || p.Entry.Withheld {
		what = "stands there; what it says is not shown"
	}
	add(&a.verdict.Proven, fmt.Sprintf("%s: entry %d of the ledger of device %s, of %d entries, %s.", f.File.File, p.Entry.Seq, f.Device, p.Head.Size, what))
	if p.Since != nil {
		add(&a.verdict.Proven, fmt.Sprintf("%s: that ledger continues, unchanged, the one of %d entries with the root %s.", f.File.File, p.Since.Size, p.Since.Root))
	}
	add(&a.verdict.Unproven, "Anything of the other entries of that ledger.")
	add(&a.verdict.Unproven, "Who holds the device's key: that has to be known from elsewhere.")
}
