// Package pipeline analyses what is new in a lake: the engine runs the
// detections, alerts are folded from what they find, memory moves on (Analysis).
// The command line and the analyze function both call it. What fills the lake is
// package intake.
package pipeline
