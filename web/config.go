// Package web is the daemon's HTTP API.
package web

import "github.com/rapsheet/rapsheet/configs/value"

// Config says where the API listens and who may change things by it. Its keys stand at the top of the configuration.
type Config struct {
	// Socket is the path of the API's unix socket, mode 0660. Every command that asks the running daemon uses it.
	// Default /run/rapsheet/rapsheet.sock.
	Socket value.String `yaml:"socket"`

	// Admins are the accounts, names or user ids, that may ban, unban, allow, arm and disarm, besides uid 0. Whoever
	// else may open the socket, by its group, may only read.
	Admins []value.String `yaml:"admins"`
}
