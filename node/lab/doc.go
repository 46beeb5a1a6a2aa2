// Package lab is what an experiment on a network of nodes is made of, whoever runs it:
//
//  1. a Scenario says what happens: how many nodes, which load, what goes wrong. It is
//     read strictly, its gaps are filled with defaults, and it is kept in full;
//  2. Plan works out of a scenario and a seed who does what when, the same each time;
//  3. an engine plays the plan and writes Records of what it saw, one JSON object a line;
//  4. Compute works the figures out of the records alone, so that anybody can do it
//     again;
//  5. package compare sets two results side by side.
//
// Package play plays a plan on any engine; package report makes the result folder;
// package hostile has the attacks on gossip.
package lab
