package configs

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
)

// A sample has every form that the decoder knows.
type sample struct {
	Name  value.String     `yaml:"name"`
	Time  value.Duration   `yaml:"time"`
	Nets  []value.Prefix   `yaml:"nets"`
	Map   map[string]*leaf `yaml:"map"`
	Leaf  leaf             `yaml:"leaf"`
	Ptr   *leaf            `yaml:"ptr"`
	Words []string         `yaml:"words"`
	Part  inlined          `yaml:",inline"`

	Hidden string `yaml:"-"`
	Untold string
}

type leaf struct {
	N value.Int  `yaml:"n"`
	B value.Bool `yaml:"b"`
	value.Pos
}

type inlined struct {
	Count int     `yaml:"count"`
	Big   uint16  `yaml:"big"`
	Share float64 `yaml:"share"`
	Yes   bool    `yaml:"yes"`
}

func decodeString(src string) (sample, value.Errors) {
	var s sample
	d := decoder{}
	d.decode(parse("t.yaml", []byte(src), false, &d.errs), reflect.ValueOf(&s).Elem(), "file")
	return s, d.errs
}

func TestDecode(t *testing.T) {
	const src = `# a comment
name: &n "a: b"
time: 1h30m
nets:
  - 192.0.2.0/24
  - 2001:db8::1
map:
  x: {n: 7, b: false}
  y:
    n: 8
leaf: &l {n: 1}
ptr:
  <<: *l
  b: true
words: *n
count: -3
big: 65535
share: 0.5
yes: true
`
	s, errs := decodeString(src)
	if errs != nil {
		t.Fatal(errs)
	}
	f := func(what string, got, want any) {
		t.Helper()
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("%s: got %s, want %s", what, g, w)
		}
	}
	f("name", s.Name, "a: b")
	f("name's place", s.Name.At(), "t.yaml:2:10")
	f("time", s.Time, "1h30m")
	f("time's place", s.Time.At(), "t.yaml:3:7")
	f("nets", s.Nets, "[192.0.2.0/24 2001:db8::1]")
	f("net's place", s.Nets[1].At(), "t.yaml:6:5")
	f("map", len(s.Map), 2)
	f("x", s.Map["x"].N, 7)
	f("x set", s.Map["x"].B.Set, true)
	f("y set", s.Map["y"].B.Set, false)
	f("y's place", s.Map["y"].At(), "t.yaml:10:5")
	f("merged", s.Ptr.N, 1)
	f("beside the merge", s.Ptr.B, true)
	f("one for a list", s.Words, "[a: b]")
	f("basic kinds", s.Part, "{-3 65535 0.5 true}")
}

func TestDecodeErrors(t *testing.T) {
	f := func(src string, want ...string) {
		t.Helper()
		_, errs := decodeString(src)
		var got []string
		for _, e := range errs {
			got = append(got, e.Error())
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%q:\n got %s\nwant %s", src, g, w)
		}
	}
	f("")
	f("# nothing but a comment\n")
	f("name:\nmap:\n")
	f("nam: x", "t.yaml:1:1: unknown key nam (did you mean name?)")
	f("Untold: x", "t.yaml:1:1: unknown key Untold")
	f("time: 5x\nname: {a: 1}\nnets: [192.0.2.1/24, x]\ncount: many",
		`t.yaml:1:7: time: "5x" has no unit "x": use s, m, h, d, w, mo, y`,
		"t.yaml:2:7: name wants a single value, not a map",
		`t.yaml:3:8: nets: "192.0.2.1/24" has host bits: 192.0.2.0/24 is the network, 192.0.2.1 the address`,
		`t.yaml:3:22: nets: "x" is no address and no network`,
		`t.yaml:4:8: count: "many" is no int`)
	f("- a\n- b\n", "t.yaml:1:1: file wants a map, not a list")
	f("map: {x: {m: 1}}\nleaf: 5", "t.yaml:1:11: unknown key m", "t.yaml:2:7: leaf wants a map, not a single value")
	f("words: [a, ~, b]", "t.yaml:1:12: words has an empty entry")
	f("yes: maybe\nbig: 65536\nshare: x", `t.yaml:1:6: yes: "maybe" is no bool`,
		`t.yaml:2:6: big: "65536" is no uint16`, `t.yaml:3:8: share: "x" is no float64`)
	f("name: a\nname: b\nleaf: {n: 1, n: 2}", "t.yaml:2:1: key name stands already on line 1", "t.yaml:3:14: key n stands already on line 3")
	f("name: *nope", "t.yaml:1:7: no anchor &nope above")
	f("map: &m {x: *m}", "t.yaml:1:13: anchor &m holds itself", "t.yaml:1:10: unknown key x")
	f("name: a\n---\nname: b\n", "t.yaml:3:1: second document in one file (put it in a file of its own)")
	f("a: [1, 2\n", "t.yaml:1:4: sequence end token ']' not found")
	f("name: \"x\n", "t.yaml:1:7: could not find end character of double-quoted text")
	f("\"na\\e[31mme\": x", `t.yaml:1:1: unknown key "na\x1b[31mme"`)
	f("? [a]\n: b\n", "t.yaml:2:1: found an invalid key for this map")
	f("leaf: {<<: 5}", "t.yaml:1:12: << wants a map, not a single value")
}

func TestDecodeBounds(t *testing.T) {
	f := func(what, src, want string) {
		t.Helper()
		_, errs := decodeString(src)
		if len(errs) == 0 || !strings.Contains(errs.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, errs, want)
		}
	}
	laughs := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	f("a billion laughs", laughs, "too much nested or repeated by aliases")
	f("deep", strings.Repeat("[", 1000)+strings.Repeat("]", 1000), "too much nested")
	f("large", strings.Repeat("#", maxFile+1), "file is larger")
}

func TestMerge(t *testing.T) {
	f := func(base, over, want string) {
		t.Helper()
		var errs value.Errors
		n := merge(parse("base", []byte(base), true, &errs), parse("over", []byte(over), false, &errs))
		if errs != nil {
			t.Fatal(errs)
		}
		if got := show(n); got != want {
			t.Errorf("%q over %q: got %s, want %s", over, base, got, want)
		}
	}
	f("a: 1\nb: 2", "b: 3\nc: 4", "{a: 1, b: 3!, c: 4!}!")
	f("a: {x: 1, y: 2}", "a: {y: 3}", "{a: {x: 1, y: 3!}!}!")
	f("a: [1, 2]", "a: [3]", "{a: [3!]!}!")
	f("a: [1, 2]", "a: 3", "{a: 3!}!")
	f("a: {x: 1}", "a: off", "{a: off!}!")
	f("a: off", "a: {x: 1}", "{a: {x: 1!}!}!")
	f("a: 1", "a:", "{a: 1}!")
	f("a: 1", "", "{a: 1}")
}

// The colons of addresses are not those of keys, wherever the address stands.
func TestColons(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		var errs value.Errors
		if got := show(parse("t.yaml", []byte(src), true, &errs)); got != want || errs != nil {
			t.Errorf("%q: got %s, %v, want %s", src, got, errs, want)
		}
	}
	f("{a: [2001:db8::1, ::1, 2001:db8::/32]}", "{a: [2001:db8::1, ::1, 2001:db8::/32]}")
	f("{a: [x, ::1/128, 2001:db8::, b:80, c]}", "{a: [x, ::1/128, 2001:db8::, b:80, c]}")
	f("[{t: '[::1]:5514', s: [2001:db8::2]}, {s: [\n  192.0.2.1, 2001:db8::3 ]}]", "[{t: [::1]:5514, s: [2001:db8::2]}, {s: [192.0.2.1, 2001:db8::3]}]")
	f("{a: [{k: v}, k: v, \"q\":z], b: 2001:db8::4}", "{a: [{k: v}, {k: v}, {q: z}], b: 2001:db8::4}")
	f("a:\n- 2001:db8::1\n- file:/etc/x", "{a: [2001:db8::1, file:/etc/x]}")
}

// show writes a tree, with a mark on what is no default.
func show(n *node) string {
	if n == nil {
		return "nil"
	}
	var parts []string
	s := n.text
	switch n.kind {
	case list:
		for _, e := range n.list {
			parts = append(parts, show(e))
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case mapping:
		for _, f := range n.fields {
			parts = append(parts, f.key+": "+show(f.node))
		}
		s = "{" + strings.Join(parts, ", ") + "}"
	case null:
		s = "~"
	}
	if !n.builtin {
		s += "!"
	}
	return s
}

// FuzzDecode: whatever is in a file, reading it ends, and every mistake has a place inside it.
func FuzzDecode(f *testing.F) {
	f.Add("name: &n x\nwords: [*n, \"y\", 'z']\nmap: {x: {n: 1}}\n")
	f.Add("leaf: {<<: {n: 1}, b: off}\ntime: 1h\nnets: 192.0.2.1\n? k\n: v\n")
	f.Add("name: |\n  a\n  b\nwords:\n- a\n-\n---\nb: 1\n")
	f.Add("%YAML 1.2\n---\n!!map {a: !!str 1, b: .nan, c: 0x1f}\n...\n")
	f.Fuzz(func(t *testing.T, src string) {
		_, errs := decodeString(src)
		lines := strings.Count(src, "\n") + strings.Count(src, "\r") + 1
		for _, e := range errs {
			if e.File != "t.yaml" || e.Line > lines+1 || e.Line > 0 && e.Column < 1 {
				t.Fatalf("%q: mistake at %s, of %d lines", src, e, lines)
			}
			excerpt([]byte(src), e.Line, e.Column)
		}
	})
}
