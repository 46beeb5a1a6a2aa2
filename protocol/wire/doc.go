// Package wire turns the nouns of package protocol into bytes and back: strictly,
// so that each value has one spelling, and nothing that came out of here needs to
// be checked again for its form.
//
// Bytes come in like this:
//
//  1. the size, against the message's own bound, before anything is allocated;
//  2. the envelope (crypto/seal), where there is one: exact fields, no slack;
//  3. the walk: deterministic CBOR, checked on the raw bytes (canon);
//  4. version, kind and algorithm: another one is fault.Unsupported;
//  5. the decoding into the noun's struct (canon; announcements by hand, announce):
//     an unknown key below 128 is fault.Unsupported, anything that does not fit is
//     fault.Malformed;
//  6. the noun's own rules (rules): what must be there, what must not, and the
//     bounds of every list and text;
//  7. the signature or MAC, last because it is the dearest.
//
// They go out through the same rules: nothing is signed that a reader would refuse.
//
// Who may say what to whom is not decided here, with one exception: [Signed.Meets]
// compares a message with what its reader expects, because forgetting one of those
// comparisons is the classic mistake.
package wire
