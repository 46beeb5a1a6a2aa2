package api_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/node/desk"
)

// TestEveryMethodReachesItsDesk calls every method of every desk twice with the same
// arguments, once on the fake house and once through client and server, and compares
// what was asked and what came back.
func TestEveryMethodReachesItsDesk(t *testing.T) {
	f, url := serve(t)
	far := open(t, url)
	near := &fake{}
	methods := 0
	for _, pair := range desks(near, far) {
		a, b := reflect.ValueOf(pair[0]), reflect.ValueOf(pair[1])
		for i := range a.Type().NumMethod() {
			m := a.Type().Method(i)
			if b.MethodByName(m.Name).Kind() == reflect.Invalid || m.Name == "Events" || !m.IsExported() {
				continue
			}
			methods++
			t.Run(a.Type().Name()+"."+m.Name, func(t *testing.T) {
				near.fail(nil)
				f.fail(nil)
				want := a.Method(i).Call(arguments(t, m.Type.NumIn()-1, a.Method(i)))
				got := b.MethodByName(m.Name).Call(arguments(t, m.Type.NumIn()-1, b.MethodByName(m.Name)))
				if d := cmp.Diff(near.asked(), f.asked()); d != "" {
					t.Errorf("asked (-near +far):\n%s", d)
				}
				for k := range want {
					if d := cmp.Diff(masked(m.Name, want[k].Interface()), got[k].Interface()); d != "" {
						t.Errorf("result %d (-near +far):\n%s", k, d)
					}
				}
			})
		}
	}
	if methods < 50 {
		t.Errorf("only %d methods were tried", methods)
	}
}

// desks pairs the desks of two houses.
func desks(a, b desk.House) [][2]any {
	ac, bc, av, bv := a.Customer(), b.Customer(), a.Vendor(), b.Vendor()
	return [][2]any{
		{ac.Needs(), bc.Needs()}, {ac.Requests(), bc.Requests()}, {ac.Grants(), bc.Grants()}, {ac.Offers(), bc.Offers()},
		{ac.Deals(), bc.Deals()}, {ac.Vault(), bc.Vault()}, {ac.Files(), bc.Files()}, {av.Catalog(), bv.Catalog()}, {av.Rules(), bv.Rules()},
		{av.Passports(), bv.Passports()}, {av.Held(), bv.Held()}, {av.Board(), bv.Board()}, {a.Ledger(), b.Ledger()},
		{a.Records(), b.Records()}, {a.Network(), b.Network()}, {a.Consent(), b.Consent()}, {a.Admin(), b.Admin()},
	}
}

// arguments fills what a method takes; each call gives the same.
func arguments(t *testing.T, n int, m reflect.Value) (in []reflect.Value) {
	t.Helper()
	for i := range n {
		v := reflect.New(m.Type().In(i)).Elem()
		switch v.Interface().(type) {
		case desk.NeedEnd:
			v.SetString("renew")
		case string:
			v.SetString([]string{"", "a b/c?", "close", "words"}[i])
		case desk.ImportSpec:
			v.Set(reflect.ValueOf(desk.ImportSpec{Currency: "ZAR", DryRun: true, Replace: true}))
		case desk.VaultImport:
			v.Set(reflect.ValueOf(desk.VaultImport{Format: "vcard", DryRun: true}))
		case desk.Query:
			q := filled[desk.Query]()
			if strings.Contains(m.Type().String(), "[]string") { // Revoke selects by fewer
				q = desk.Query{Context: "c", Vendor: "v", All: true}
			} else if m.Type().NumIn() == 3 { // Letters too
				q = desk.Query{Limit: 3, After: "a", State: "s", Kind: "k"}
			}
			v.Set(reflect.ValueOf(q))
		default:
			switch s := fmt.Sprint(m.Type().In(i)); s {
			case "context.Context":
				v = reflect.ValueOf(t.Context())
			case "io.Reader":
				v = reflect.ValueOf(strings.NewReader("id,title\n1,desk\n"))
			case "io.Writer":
				v = reflect.ValueOf(&bytes.Buffer{})
			case "[]uint8":
				v = reflect.ValueOf([]byte("passphrase"))
			default:
				k := 0
				fill(v, &k)
			}
		}
		in = append(in, v)
	}
	return in
}

// masked is what becomes of a method's result on its way out.
func masked(method string, v any) any {
	switch v := v.(type) {
	case []desk.Field:
		if method == "History" { // asked with reveal
			return v
		}
		v = slices.Clone(v)
		for i := range v {
			v[i].Value = "••••••"
		}
		return v
	case desk.Field:
		if method == "Set" || method == "Upload" {
			v.Value = "••••••"
		}
		return v
	}
	return v
}
