package filter

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const corpus = "../../../shared/corpus/"

type entry struct {
	ID         string   `json:"id"`
	Source     string   `json:"source"`
	Service    string   `json:"service"`
	File       string   `json:"file"`
	N          int      `json:"n"`
	Line       string   `json:"line"`
	Tag        string   `json:"tag"`
	Match      bool     `json:"match"`
	Host       string   `json:"host"`
	User       string   `json:"user"`
	WrongHosts []string `json:"wrong_hosts"`
	Class      string   `json:"class"`
	NoEnvelope bool     `json:"no_envelope"`
	Policy     string   `json:"policy"`    // about the receiver, not about a rule
	Transport  string   `json:"transport"` // likewise
}

func read(t *testing.T, name string) []entry {
	t.Helper()
	f, err := os.Open(corpus + name)
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	defer f.Close()
	var all []entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// Where the service's messages go when a line has no header.
var programOf = map[string]string{"sshd": "sshd", "wordpress": "wordpress(example.org)", "dovecot": "dovecot", "postfix": "postfix/smtpd"}

var (
	rfc5424 = regexp.MustCompile(`(?s)^<\d+>1 \S+ \S+ (\S+) \S+ \S+ (?:-|\[.*?\]) ?(.*)$`)
	dated   = regexp.MustCompile(`^(?:<\d+>)?(?:[A-Z][a-z]{2} +\d+ [\d:]{8} |\d{4}-\d\d-\d\d[T ][\d:.]+\S* |@[0-9a-f]{24} )?`)
	tagged  = regexp.MustCompile(`(?s)^(?:\S+ )?\[?((?:sshd|dovecot|postfix|wordpress|wp)[^\s\[\]:]*)(?:\[\d*\])?\]?:? (.*)$`)
)

// split is as much of a header parser as these lines need.
func split(e *entry) (program, text string) {
	if m := rfc5424.FindStringSubmatch(e.Line); m != nil {
		return m[1], m[2]
	}
	rest := e.Line[len(dated.FindString(e.Line)):]
	if m := tagged.FindStringSubmatch(rest); m != nil && !e.NoEnvelope {
		return m[1], m[2]
	}
	if program = programOf[e.Service]; program == "" {
		program = "sshd" // another service's line: under no name must it give a wrong address
	}
	return program, rest
}

func wantAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.WithZone("").Unmap(), err == nil
}

// TestCorpus runs real lines with known outcomes through the shipped filters. The sources disagree about policy, so a
// line is recognised when it is any event with the right address.
func TestCorpus(t *testing.T) {
	s := compiled(t)
	type sums struct{ match, recognised, noAddr, wrong, other, failures int }
	by := map[string]*sums{}
	var order []string
	for _, e := range read(t, "dev.jsonl") {
		program, text := split(&e)
		n := by[e.Service]
		if n == nil {
			n = &sums{}
			by[e.Service] = n
			order = append(order, e.Service)
		}
		m := event.Message{Program: []byte(program), Text: []byte(text)}
		var ev event.Event
		ok := s.Match(&m, &ev)
		bad := ok && ev.Rule.Kind != event.Success
		want, isAddr := wantAddr(e.Host)
		switch {
		case e.Match:
			n.match++
			switch {
			case !bad:
				if programOf[e.Service] != "" {
					t.Logf("%s not recognised: %s: %s", e.Service, program, text)
				}
			case ev.Addr.IsValid() && (!isAddr || ev.Addr != want):
				n.wrong++
				t.Errorf("%s: got %s, want %q: %s", e.Service, ev.Addr, e.Host, e.Line)
			case isAddr && !ev.Addr.IsValid():
				n.noAddr++
				t.Logf("%s without address, want %s: %s", e.Service, e.Host, e.Line)
			default:
				n.recognised++
			}
		default:
			n.other++
			if bad && ev.Rule.Kind == event.Failure {
				n.failures++
				t.Logf("%s a failure, by the corpus none: %s", e.Service, e.Line)
			}
		}
	}
	slices.Sort(order)
	for _, service := range order {
		if n := by[service]; programOf[service] != "" || n.recognised+n.noAddr > 0 {
			t.Logf("%-12s %3d of %3d recognised, %d without address, %d wrong; of %d others %d failures",
				service, n.recognised, n.match, n.noAddr, n.wrong, n.other, n.failures)
		}
	}
	for service := range programOf {
		if n := by[service]; n == nil || n.recognised*10 < n.match*9 {
			t.Errorf("%s: got %+v, want nine in ten recognised", service, n)
		}
	}
}

func TestInjection(t *testing.T) {
	s := compiled(t)
	for _, e := range read(t, "injection.jsonl") {
		if e.Policy != "" {
			continue
		}
		program, text := split(&e)
		m := event.Message{Program: []byte(program), Text: []byte(text)}
		var ev event.Event
		ok := s.Match(&m, &ev)
		if !ok {
			if e.Match && e.Transport == "" && e.Class == "auth" && programOf[e.Service] != "" {
				t.Errorf("%s: no event: %s", e.ID, e.Line)
			}
			continue
		}
		for _, w := range e.WrongHosts {
			// A success and a probe of the true peer are no failure of it.
			if ev.Addr.IsValid() && ev.Addr.String() == w && (e.Match || ev.Rule.Kind == event.Failure) {
				t.Errorf("%s: got %s of %s, which must never be reported: %s", e.ID, ev.Rule.Kind, w, e.Line)
			}
		}
		if want, isAddr := wantAddr(e.Host); e.Match && isAddr && ev.Addr != want {
			t.Errorf("%s: got %s, want %s: %s", e.ID, ev.Addr, e.Host, e.Line)
		}
		// fail2ban counts a mail client's rejected command and a scanner's banner as failures, we as abuse and probe.
		if e.Match && e.Class == "auth" && e.Source == "own" && programOf[e.Service] != "" && ev.Rule.Kind != event.Failure {
			t.Errorf("%s: got %s, want failure: %s", e.ID, ev.Rule.Kind, e.Line)
		}
		if !e.Match && ev.Rule.Kind == event.Failure {
			t.Logf("%s: a failure of %s%s, by the corpus none: %s", e.ID, ev.Addr, ev.Name, e.Line)
		}
	}
}
