package card

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol/fault"
)

const v4 = "\ufeffBEGIN:VCARD\r\nVERSION:4.0\r\nFN:Thandi Mokoena\r\nN:Mokoena;Thandi;Grace;;\r\nNICKNAME:Tee\r\nBDAY:19850412\r\n" +
	"GENDER:F\r\nEMAIL;TYPE=home;PREF=2:second@example.org\r\nEMAIL;PREF=1:thandi@example.org\r\nEMAIL;TYPE=work:t.mokoena@shop.example\r\n" +
	"item1.TEL;VALUE=uri;TYPE=\"cell,voice\":tel:+27-82-555-0100\r\nADR;TYPE=home:;;12 Long Street\\, Flat 3;Cape Town;Western Cape;8001;South\r\n  Africa\r\n" +
	"LANG:zu\r\nORG:Baker\\; Sons;Bread\r\nTITLE:Baker\r\nNOTE:private\r\nUID:1\r\nX-ODD;X=1:y\r\nno colon\r\nEND:VCARD\r\n"

func TestOneCard(t *testing.T) {
	got, ignored, err := Read(strings.NewReader(v4))
	if err != nil {
		t.Fatal(err)
	}
	want := []Value{
		{"contact.address", "12 Long Street, Flat 3\nCape Town\nWestern Cape\n8001\nSouth Africa", "ADR"},
		{"contact.email", "thandi@example.org", "EMAIL"}, {"contact.language", "zu", "LANG"},
		{"contact.phone", "+27-82-555-0100", "TEL"}, {"contact.work-email", "t.mokoena@shop.example", "EMAIL"},
		{"demographic.gender", "female", "GENDER"}, {"identity.birth-date", "1985-04-12", "BDAY"},
		{"identity.family-name", "Mokoena", "N"}, {"identity.given-name", "Thandi Grace", "N"}, {"identity.name", "Thandi Mokoena", "FN"},
		{"identity.nickname", "Tee", "NICKNAME"}, {"location.city", "Cape Town", "ADR"}, {"location.country", "South Africa", "ADR"},
		{"location.postcode", "8001", "ADR"}, {"location.region", "Western Cape", "ADR"},
		{"work.employer", "Baker; Sons, Bread", "ORG"}, {"work.occupation", "Baker", "TITLE"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff([]string{"EMAIL: a second value for contact.email", "NOTE: no field takes it", "X-ODD: no field takes it"}, ignored); d != "" {
		t.Errorf("ignored (-want +got)\n%s", d)
	}
	for _, v := range got {
		if _, ok := v.Field.Info(); !ok {
			t.Errorf("%s is no field of the vocabulary", v.Field)
		}
	}
}

func TestVersion3(t *testing.T) {
	got, _, err := Read(strings.NewReader("BEGIN:VCARD\nVERSION:3.0\nFN:A B\nTEL;TYPE=WORK,VOICE:1\nTEL;TYPE=cell,pref:2\nTEL;TYPE=home:3\n" +
		"PHOTO;ENCODING=b:" + strings.Repeat("A", maxLine) + "\nEND:VCARD"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Value{{"contact.phone", "2", "TEL"}, {"contact.work-phone", "1", "TEL"}, {"identity.name", "A B", "FN"}}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestHostileCardsAreRefused(t *testing.T) {
	body := func(s string) string { return "BEGIN:VCARD\nVERSION:4.0\n" + s + "END:VCARD\n" }
	for name, text := range map[string]string{
		"nothing":        "",
		"no card":        "name,phone\nA,1\n",
		"no end":         "BEGIN:VCARD\nVERSION:4.0\nFN:A\n",
		"two people":     body("FN:A\n") + body("FN:B\n"),
		"a group":        body("KIND:group\nFN:A\n"),
		"version 2.1":    "BEGIN:VCARD\nVERSION:2.1\nFN:A\nEND:VCARD\n",
		"not UTF-8":      body("FN:\xff\n"),
		"too large":      body(strings.Repeat("X:y\n", MaxFile/4)),
		"too many lines": body(strings.Repeat("X:y\n", maxLines)),
	} {
		if v, _, err := Read(strings.NewReader(text)); v != nil || !errors.Is(err, fault.Malformed) && !errors.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	// A million folds cost no more than their bytes.
	got, ignored, err := Read(strings.NewReader(body("NOTE:" + strings.Repeat("x\n ", 1<<20) + "\nFN:A\n")))
	if err != nil || len(got) != 1 || len(ignored) != 1 {
		t.Errorf("many folds: %v, %v, %v", got, ignored, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(v4)
	f.Add("BEGIN:VCARD\nVERSION:3.0\nN:;;;;\nADR:\nGENDER:\nBDAY:--0412\nEND:VCARD\n")
	f.Add("BEGIN:VCARD\nVERSION:4.0\nTEL;TYPE=\"a:1\nEND:VCARD\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, _, err := Read(strings.NewReader(text))
		if err != nil && values != nil {
			t.Errorf("values beside %v", err)
		}
		for _, v := range values {
			if !v.Field.WellFormed() || v.Text == "" || strings.ContainsAny(v.Text, "\x00\r\t") {
				t.Errorf("%+v fits no vault", v)
			}
		}
	})
}
