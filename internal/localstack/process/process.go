// Package process starts programs so that they end with us, together with the
// programs that they start.
package process
