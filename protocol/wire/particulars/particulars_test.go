package particulars

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// walked is what a reader of a message finds: its ignorable pairs.
func walked(t *testing.T, x protocol.Extra) protocol.Extra {
	t.Helper()
	if len(x) == 0 {
		return nil
	}
	d, err := canon.Walk(append([]byte{0xa1}, x...))
	if err != nil || d.Extras != 1 {
		t.Fatalf("%x: %d pairs, %v", x, d.Extras, err)
	}
	return d.Extra()
}

func TestParticulars(t *testing.T) {
	full := protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy", "child.age"}, Protection: "a law", Automated: "a score"}
	for _, m := range []protocol.Particulars{full, {Protection: "a law"}, {}} {
		x, err := Extra(m)
		if err != nil || (len(x) == 0) != cmp.Equal(m, protocol.Particulars{}) {
			t.Fatalf("%+v: %x, %v", m, x, err)
		}
		if d := cmp.Diff(m, Of(walked(t, x))); d != "" {
			t.Errorf("they come back otherwise (-want +got):\n%s", d)
		}
	}
	for name, m := range map[string]protocol.Particulars{
		"a field twice": {Explicit: []protocol.FieldName{"child.age", "child.age"}}, "no field name": {Explicit: []protocol.FieldName{"Child"}},
		"too many fields": {Explicit: make([]protocol.FieldName, protocol.MaxFields+1)},
		"too long":        {Protection: strings.Repeat("x", protocol.MaxText+1)}, "a control character": {Automated: "a\x00"},
	} {
		if _, err := Extra(m); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
		if raw, err := canon.Encode(&m); err == nil { // what another program writes counts as not said
			if got := Of(append(protocol.Extra(head), raw...)); !cmp.Equal(got, protocol.Particulars{}) {
				t.Errorf("%s is read as %+v", name, got)
			}
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, m := range []protocol.Particulars{{Explicit: []protocol.FieldName{"health.allergy"}}, {Protection: "a law", Automated: "a score"}} {
		x, err := Extra(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(x))
	}
	f.Add([]byte(head + "\x63new"))
	f.Fuzz(func(t *testing.T, x []byte) {
		if got, over := alloc.Over(alloc.Most(len(x)), func() { _ = Of(x) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(x))
		}
		d, err := canon.Walk(append([]byte{0xa1}, x...))
		if err != nil || d.Extras != 1 {
			return
		}
		m := Of(d.Extra())
		if again, err := Extra(m); err != nil || len(again) > 0 && string(again) != string(d.Extra()) {
			t.Errorf("%x is read as %+v, which is written as %x, %v", x, m, again, err)
		}
	})
}
