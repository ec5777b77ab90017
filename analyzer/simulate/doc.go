// Package simulate writes CloudTrail logs of KMS that look as AWS delivers
// them: for benchmarks, for property tests, and for the incident that
// `make replay` tells.
//
// Three things are here:
//
//   - [Traffic] writes the ordinary life of an organisation: applications that
//     encrypt fields, secrets read through Secrets Manager, buckets, volumes,
//     databases, deploys, people, partners, noise. Its size, length, share of KMS
//     and layout are options.
//   - [Incident] writes six weeks of one small company and the theft at their end.
//   - The functions over [Batch] bend finished logs as the world does: files
//     that come twice, late, out of order or over a second trail.
//
// All of it is made from a seed: the same options give the same bytes, on any
// number of cores. Accounts, names and addresses are of the kind set aside for
// documentation; nothing comes from a real log.
package simulate
