package filter

import "github.com/rapsheet/rapsheet/configs/value"

// Config is one filter as its YAML file says it.
type Config struct {
	Service value.String `yaml:"service"` // the filter's name, as jails use it: [a-z0-9-]

	// Programs are the syslog programs whose messages the filter reads: a whole name (sshd), a name and what stands
	// in parentheses behind it (wordpress(*), or a first and a last part of a path (postfix*/smtpd).
	Programs []value.String `yaml:"programs"`

	// Session says what joins the lines of one attempt: nothing, pid, or <id>, a field of the templates.
	Session value.String `yaml:"session"`

	Rules   []Rule   `yaml:"rules"`   // tried in this order, the first match wins
	Samples []Sample `yaml:"samples"` // what the filter must say of which line
}

// A Rule has exactly one of Failure, Probe, Abuse, Success, Ignore and Regex.
type Rule struct {
	Failure value.String `yaml:"failure"` // templates: a login failed,
	Probe   value.String `yaml:"probe"`   // somebody looked around,
	Abuse   value.String `yaml:"abuse"`   // relayed or spammed,
	Success value.String `yaml:"success"` // logged in,
	Ignore  value.String `yaml:"ignore"`  // or nothing of the kind: no event, and no later rule of the filter is tried

	// Regex is for what templates can't say: RE2, anchored at both ends, with the groups addr, user, id, attempts.
	Regex value.String `yaml:"regex"`
	Kind  value.String `yaml:"kind"` // what a match of Regex is: failure, probe, abuse, success or ignore

	Name   value.String   `yaml:"name"`   // how listings call the rule; the template, if empty
	Weight value.Int      `yaml:"weight"` // what one match scores, 1 unless set
	Once   value.Bool     `yaml:"once"`   // counts only in a session that has counted nothing yet
	Apart  value.Bool     `yaml:"apart"`  // one of the lines that several processes write of one attempt
	End    value.Bool     `yaml:"end"`    // the last line of its session
	Every  value.Duration `yaml:"every"`  // at most one event of this rule and address in that time
}

// A Sample is a line and what the filter must say of it.
type Sample struct {
	Line    value.String `yaml:"line"`    // the message's text, without its header
	Program value.String `yaml:"program"` // the first of the filter's, if empty
	Kind    value.String `yaml:"kind"`    // failure, probe, abuse, success, none
	Addr    value.String `yaml:"addr"`    // as netip writes it; empty: no address
	Name    value.String `yaml:"name"`    // the host name in the address's place; empty: none
	User    value.String `yaml:"user"`    // compared unless empty
	Count   value.Int    `yaml:"count"`   // attempts, 1 unless set
}
