package configs

import "testing"

func TestSuggest(t *testing.T) {
	known := []string{"maxretry", "findtime", "bantime", "users", "strikes", "ports", "jitter", "allow", "filters", "udp", "tcp"}
	f := func(in, want string) {
		t.Helper()
		if want != "" {
			want = "did you mean " + want + "?"
		}
		if got := suggest(in, known); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	f("maxretries", "maxretry")
	f("max_retry", "maxretry")
	f("MaxRetry", "maxretry")
	f("fintime", "findtime")
	f("bantmie", "bantime")
	f("port", "ports")
	f("ignoreip", "allow")
	f("udq", "udp")
	f("tpc", "tcp")
	f("zebra", "")
	f("x", "")
	f("", "")
}

func TestDistance(t *testing.T) {
	f := func(a, b string, want int) {
		t.Helper()
		if got := distance(a, b, 10); got != want {
			t.Errorf("%s, %s: got %d, want %d", a, b, got, want)
		}
	}
	f("", "", 0)
	f("abc", "abc", 0)
	f("abc", "abd", 1)
	f("abc", "acb", 1)
	f("abc", "ab", 1)
	f("abc", "xyz", 3)
	f("kitten", "sitting", 3)
}
