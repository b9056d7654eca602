package configs

import (
	"slices"
	"strconv"
	"strings"
)

// What fail2ban calls a thing that has another name here.
var fail2ban = map[string]string{
	"ignoreip": "allow", "filter": "filters", "port": "ports", "action": "sinks", "banaction": "sinks",
	"loglevel": "log", "dbfile": "state", "maxretries": "maxretry",
}

// suggest says which of the known names was perhaps meant, as a hint, or nothing.
func suggest(got string, known []string) string {
	got = strings.ToLower(got)
	if ours, ok := fail2ban[got]; ok && slices.Contains(known, ours) {
		return "did you mean " + ours + "?"
	}
	if len(got) < 2 {
		return ""
	}
	best, least := "", 1+len(got)/3
	for _, k := range slices.Sorted(slices.Values(known)) {
		if n := distance(got, strings.ToLower(k), least); n < least || n == least && best == "" {
			best, least = k, n
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the Levenshtein distance of two names, counting an exchange of neighbours as one; more than limit is
// told as limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 64 || len(b) > 64 {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}

// plain returns a name as it is if it is a plain one, and quoted otherwise.
func plain(s string) string {
	for _, r := range s {
		if r <= ' ' || r == '"' || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
