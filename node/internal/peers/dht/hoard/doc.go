// Package hoard holds what strangers bring to the DHT, in memory and within bounds.
//
//  1. Before a record is put, the room above notes from which address prefix it comes:
//     the library's datastores are told of keys and bytes alone.
//  2. Put charges it to that prefix. When there is no room, the prefix that holds most
//     gives way (pool.go): equal shares, whatever anybody sends.
//  3. Values and Providers are the library's two datastores on top of that; the second
//     also bounds the records of one peer and of one place.
package hoard
