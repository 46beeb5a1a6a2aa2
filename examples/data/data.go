// Package data holds the sample market that ships with the project: what people
// want and what is on sale. Everything in it is invented, without real people,
// companies or brands.
//
// needs.csv has one need a line, in a person's own words: name, category, region,
// max_price (for the whole quantity; empty: no budget given), currency, quantity,
// detail. catalog.csv has one product or service a line: id, title, category,
// price (for one; empty: price on request), currency, region (where it can be had
// or delivered), description, condition (new, used, refurbished; empty for
// services). It is one catalogue, which a demonstration splits over its vendors.
//
// Both are UTF-8 with commas, quotes after RFC 4180, and a header line. Prices
// are decimal numbers, categories and regions are those of package protocol.
package data

import "embed"

// Files has needs.csv and catalog.csv.
//
//go:embed *.csv
var Files embed.FS
