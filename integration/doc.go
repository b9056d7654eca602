// Package integration holds the stories of rapsheet: tests that run the real binary with real daemons and real attackers,
// in hosts made of namespaces (package lab). README.md says what they need and how to write one.
package integration
