package configs

import (
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
)

func TestExcerpt(t *testing.T) {
	f := func(src string, line, column int, want string) {
		t.Helper()
		if got := excerpt([]byte(src), line, column); got != want {
			t.Errorf("%q %d:%d:\n got %q\nwant %q", src, line, column, got, want)
		}
	}
	f("a: 1\nb: x\n", 2, 4, "    2 | b: x\n      |    ^")
	f("\tb: x\r\n", 1, 2, "    1 |  b: x\n      |  ^")
	f("é: \x1b[31mx", 1, 4, "    1 | é: .[31mx\n      |    ^")
	f("a: 1", 1, 99, "    1 | a: 1\n      |     ^")
	f("a: \xff\u202e", 1, 4, "    1 | a: ..\n      |    ^")
	f("a", 2, 1, "")
	f("a", 0, 0, "")
	f("", 1, 1, "")
	f("\n\n", 1, 1, "")
}

func TestReportFitsTerminal(t *testing.T) {
	long := "key: " + strings.Repeat("0123456789", 50)
	for _, column := range []int{1, 60, 80, 200, 505} {
		errs := value.Errors{{
			Pos: value.Pos{File: "/etc/rapsheet/conf.d/10-long.yaml", Line: 1, Column: column},
			Msg: "key cannot be so long a thing", Hint: "did you mean something shorter?",
			Excerpt: excerpt([]byte(long), 1, column),
		}}
		var b strings.Builder
		if err := Report(&b, errs); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for _, l := range lines {
			if len(l) > width {
				t.Errorf("column %d: %d wide: %q", column, len(l), l)
			}
		}
		caret := strings.IndexByte(lines[len(lines)-1], '^')
		if want := long[column-1]; column < len(long) && lines[len(lines)-2][caret] != want {
			t.Errorf("column %d: caret below %q, want %q", column, lines[len(lines)-2][caret], want)
		}
	}
}

func TestReportIsClean(t *testing.T) {
	var b strings.Builder
	errs := value.Errors{{Msg: "a\x1b]0;title\x07\nb\u202e", Hint: "\x9b31m"}}
	if err := Report(&b, errs); err != nil {
		t.Fatal(err)
	}
	if want := "a.]0;title..b. (.31m)\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestReportWraps(t *testing.T) {
	var b strings.Builder
	errs := value.Errors{{
		Pos:  value.Pos{File: "/etc/rapsheet/rapsheet.yaml", Line: 7, Column: 10},
		Msg:  "a message of so many words that it does not fit into one line of a terminal, nor into two of them, it seems",
		Hint: "a hint",
	}}
	if err := Report(&b, errs); err != nil {
		t.Fatal(err)
	}
	const want = `/etc/rapsheet/rapsheet.yaml:7:10: a message of so many words that it does not
      fit into one line of a terminal, nor into two of them, it seems
      a hint
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
