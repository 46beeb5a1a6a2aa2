// Package integration holds the tests that look at the whole of hark from outside: the rules of the house that every
// package keeps (house_test.go), whole stories between customers and vendors, and real processes of the real binary
// talking over loopback. It exports nothing.
package integration
