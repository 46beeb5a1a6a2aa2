// Package desk is the vocabulary of the front door: what people and programs may
// ask of a node, and the views they get back. The node implements the interfaces;
// the local REST API, the commands and the examples speak them. All views encode
// to JSON as they stand; ids are lower-case hexadecimal, and every operation that
// takes an id also takes a unique prefix of it. Money is in minor units.
//
// A view never carries a key or an unmasked secret.
package desk

import "github.com/harkmarket/hark/protocol"

// A House is all desks of one node. While the vault is locked, desks that need it
// answer fault.Locked.
type House interface {
	Customer() Customer
	Vendor() Vendor
	Consent() Consent
	Ledger() Ledger
	Records() Records
	Network() Network
	Admin() Admin
}

// Customer has the desks of a customer.
type Customer interface {
	Needs() Needs
	Requests() Requests
	Grants() Grants
	Offers() Offers
	Deals() Deals
	Vault() Vault
	Files() Files
}

// Vendor has the desks of a vendor.
type Vendor interface {
	Catalog() Catalog
	Rules() Rules
	Passports() Passports
	Held() Held
	Board() Board
}

// ShowMoney makes the view of an amount; nil where there is none.
func ShowMoney(m protocol.Money) *Money {
	if m == (protocol.Money{}) {
		return nil
	}
	return &Money{Minor: m.Minor, Currency: string(m.Currency), Text: m.String()}
}
