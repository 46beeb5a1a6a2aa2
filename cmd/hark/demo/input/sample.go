package input

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"

	"github.com/harkmarket/hark/examples/data"
)

// Names of the players; all of them are made up.
var (
	shopNames     = []string{"Baobab Stores", "Karoo Traders", "Protea Supply", "Umhlanga Goods", "Highveld Market", "Fynbos & Co", "Drakensberg Direct", "Limpopo Wares"}
	customerNames = []string{"Thandi", "Pieter", "Lerato", "Naledi", "Johan", "Ayesha", "Sipho", "Zanele"}
)

// CustomerName names the i-th customer, from 0.
func CustomerName(i int) string { return nameOf(customerNames, i) }

// PracticeName names the practice that a customer goes to.
const PracticeName = "Dentist on Main"

// Address is the field that a customer gives to her practice, and to nobody else.
const Address = "contact.address"

// nameOf gives the i-th name, with a number once the list is used up.
func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s %d", names[i%len(names)], i/len(names)+1)
}

func sampleNeeds(limit int) (Input, error) {
	raw, err := data.Files.ReadFile("needs.csv")
	if err != nil {
		return Input{}, fmt.Errorf("sample needs: %w", err)
	}
	return parseNeeds(raw, limit)
}

// sampleShops deals the products of the sample catalogue to n vendors.
func sampleShops(n int, seed uint64) ([]Shop, error) {
	raw, err := data.Files.ReadFile("catalog.csv")
	if err != nil {
		return nil, fmt.Errorf("sample catalogue: %w", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("sample catalogue: %w", err)
	}
	header, rows := rows[0], rows[1:]
	//nolint:gosec // it deals samples, the same each time for one seed
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	shops := make([]Shop, n)
	for v := range shops {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		part := [][]string{header}
		for i := v; i < len(rows); i += n {
			part = append(part, rows[i])
		}
		if err := w.WriteAll(part); err != nil {
			return nil, fmt.Errorf("sample catalogue: %w", err)
		}
		shops[v] = Shop{Name: nameOf(shopNames, v), CSV: b.Bytes()}
	}
	return shops, nil
}

// Private is a field that every customer has and no need offers.
const Private = "identity.nickname"

// values are made-up contents of vault fields; customer i gets the i-th.
var values = map[string][]string{
	"location.area":         {"Pinelands, Cape Town", "Durban North", "Hatfield, Pretoria", "Soweto"},
	"preference.delivery":   {"Saturday morning", "weekdays after 17:00", "collect in person", "any time"},
	"contact.hours":         {"09:00 to 12:00", "after 18:00", "weekends", "any time"},
	"demographic.age-range": {"30-39", "50-59", "18-24", "40-49"},
	"vehicle.model":         {"small hatchback, petrol", "single-cab bakkie, diesel", "none yet", "minibus"},
	Address:                 {"3 Long Street", "11 Umgeni Road", "27 Park Street", "5 Vilakazi Street"},
	Private:                 {"Titi", "Piet", "Ratu", "Ledi"},
	"preference.brand":      {"no preference", "whatever can be repaired nearby", "the one I have now", "local makes first"},
}

// Value gives what customer i, from 0, keeps in a field.
func Value(field string, customer int) string {
	if list := values[field]; len(list) > 0 {
		return list[customer%len(list)]
	}
	return "not said"
}
