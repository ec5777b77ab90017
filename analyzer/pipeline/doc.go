// Package pipeline ties the parts together in the order in which data goes:
// logs are read into a lake (Ingest), and what is new in the lake is analysed
// and becomes findings and alerts (Analysis). The command line and the Lambda
// functions both call it; it is the only package of the library that knows
// several adapters.
package pipeline
