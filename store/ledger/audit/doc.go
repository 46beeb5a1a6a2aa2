// Package audit judges what a node hands to others: without the node, without a key,
// and without a network. It also writes such files, so that each form stands in one
// place. The node and the programs that check its files share this code.
//
//  1. an [Auditor] takes files, one after another, each in one pass; everything in
//     them is hostile until it is checked;
//  2. each is checked by itself: the form, every signature, every commitment, and
//     that all of it is about the same thing;
//  3. at the end files are held against each other: two histories of one device, a
//     ledger that went back, a head that a vendor countersigned and no ledger has;
//  4. the [Verdict] says what is wrong, where and why; what the files prove; and what
//     they do not prove.
//
// # The files
//
// All are NDJSON in the spelling of package ledger: objects, one a line, in the one
// spelling that encoding/json writes; bytes in base64, hashes in hexadecimal, moments
// in seconds since 1970 unless the name ends in _ms.
//
// A bundle (hark ledger export) is a whole ledger with what others have signed:
//
//	{"schema":"hark.bundle/1","net":"…","bodies":"all"}
//	{"letter":"…"}                     a signed envelope, as in protocol/SPEC.md; several
//	{"grant":{"id":"…","context":"hkcontext1…","vendor":"…","side":"customer"}}
//	{"opening":{"blind":"…","size":3,"salt":"…"}}
//	the lines of a ledger in the form hark.ledger/1
//	{"seal":{"sig":"…"}}
//
// The letters before a grant belong to it: passports, request, grant, receipt,
// revocation, deletion, rights, answers, breaches, acknowledgements. An opening shows
// of which head of this ledger a blinded head was made that went to a vendor, who may
// have countersigned it (protocol/SPEC.md, "Ledger heads"). The seal is the device's
// signature over all lines before it: a bundle with a byte changed is none. "bodies"
// says what was left out: with "none" no entry has its body and no letter is there;
// with "own" only entries that concern no grant have theirs; "grants" in the first
// line names those whose letters and bodies are there, when others are not. Openings
// and leaves are always all there, and so every head can always be checked.
//
// Evidence (hark ledger evidence) is what two sides signed under one grant, without
// any ledger: a receipt, a deletion, or a promise that lapsed.
//
//	{"schema":"hark.evidence/1","net":"…"}
//	{"letter":"…"}
//	{"grant":{"id":"…","context":"hkcontext1…","vendor":"…","side":"customer",
//	  "lapses":[{"owed":"deletion","re":"…","due":1760000000}]}}
//
// A proof (hark ledger prove) shows one entry and nothing of the others:
//
//	{"schema":"hark.proof/1","entry":{…},"size":9,"path":["…"],"head":{…},
//	  "since":{"size":4,"root":"…","path":["…"]}}
//
// entry and head are as in hark.ledger/1, path is the RFC 6962 audit path. since, where
// it is there, proves that the ledger continues the one that had this root.
//
// Letters hold addresses with capabilities to write into mailboxes of that grant: a
// file with letters is for somebody whom one trusts with that.
//
// # Bounds
//
// A line has at most ledger.MaxLine bytes, a grant MaxLetters letters, a verdict
// MaxProblems problems. What is held in memory is less than the bytes that were read.
package audit
