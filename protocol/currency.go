package protocol

import (
	"strings"
	"sync"
)

// A Currency is an ISO 4217 alphabetic code, in capitals. Codes in which nothing
// is sold (metals, units of account, XTS, XXX) are not currencies here.
type Currency string

// currencyCodes by number of decimals.
var currencyCodes = [...]string{
	0: `BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF`,
	2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
 COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
 IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD
 NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
 SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
	3: `BHD IQD JOD KWD LYD OMR TND`,
	4: `CLF UYW`,
}

// currencies maps each code to its decimals.
var currencies = sync.OnceValue(func() map[Currency]int {
	all := map[Currency]int{}
	for decimals, codes := range currencyCodes {
		for _, c := range strings.Fields(codes) {
			all[Currency(c)] = decimals
		}
	}
	return all
})

// Valid reports whether c is on the list.
func (c Currency) Valid() bool { _, ok := currencies()[c]; return ok }

// Decimals is the number of decimals of one unit: 2 for ZAR, 0 for JPY, 3 for
// KWD; 0 for a code that is not on the list.
func (c Currency) Decimals() int { return currencies()[c] }
