// Package simulation runs the functions of the stack together in one process:
// the real handlers over services in memory that have AWS's semantics, a clock
// that only the simulation moves, and a scheduler that draws everything from a
// seed: which function goes on with which call, which is killed before or after
// it, what a service refuses, loses or delivers twice, in what order. A seed
// gives the same run again, call for call.
//
// After each seed has done its worst, everything is left alone until it is
// quiet, and must be as after a run without faults: every alert told once, none
// twice, nothing in flight, in quarantine and dead letters what was put there on
// purpose.
//
//	go test ./analyzer/stack/simulation -seeds 500        as many, from 1
//	go test ./analyzer/stack/simulation -seed 4711 -v     one alone, call for call
package simulation
