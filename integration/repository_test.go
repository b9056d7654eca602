package integration

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

const module = "github.com/rapsheet/rapsheet"

// Imports form a star: a part imports the words that everybody shares, the standard library, and what stands here, never
// another part. What it needs of another it states as an interface, and cmd/rapsheet hands it in.
var star = map[string]struct {
	imports string // further packages of this module, and libraries with all below them
	tests   string // further ones of its tests
}{
	"pipeline":         {},
	"pipeline/event":   {},
	"pipeline/header":  {},
	"pipeline/filter":  {tests: "github.com/goccy/go-yaml"},
	"pipeline/session": {},
	"pipeline/allow":   {imports: "github.com/gaissmai/bart github.com/vishvananda/netlink golang.org/x/sys"},
	"pipeline/score":   {tests: "pipeline/verdict"}, // each is the other's half: what one event fires decides what the next scores
	"pipeline/verdict": {},

	"receiver":    {imports: "gopkg.in/mcuadros/go-syslog.v2 golang.org/x/sys"},
	"sinks":       {},
	"sinks/ipset": {imports: "github.com/vishvananda/netlink github.com/google/nftables golang.org/x/sys"},
	"store":       {imports: "github.com/dgraph-io/badger/v4 github.com/dgraph-io/ristretto/v2 golang.org/x/sys"},
	"web":         {imports: "golang.org/x/sys"},

	"configs":       {imports: "pipeline/allow pipeline/filter receiver sinks sinks/ipset store web github.com/goccy/go-yaml"},
	"configs/value": {},

	"integration":       {tests: "configs sinks/ipset github.com/vishvananda/netlink github.com/google/nftables golang.org/x/sys"},
	"integration/lab":   {imports: "golang.org/x/sys"},
	"integration/mix":   {},
	"integration/netns": {imports: "github.com/vishvananda/netlink github.com/vishvananda/netns golang.org/x/sys"},

	"cmd/rapsheet": {imports: "*"},
}

// What every part may import, pipeline/event apart, and what every test.
const (
	shared = "pipeline/event configs/value github.com/rs/zerolog"
	tools  = "integration/lab integration/mix integration/netns pgregory.net/rapid"
)

func TestImportsFormAStar(t *testing.T) {
	seen := map[string]bool{}
	for name, f := range sources(t) {
		folder := path.Dir(name)
		seen[folder] = true
		row, ok := star[folder]
		if !ok {
			t.Errorf("%s: no line in the table of imports says what %s may import", name, folder)
			continue
		}
		allowed := strings.Fields(row.imports)
		if folder != "pipeline/event" {
			allowed = append(allowed, strings.Fields(shared)...)
		}
		if strings.HasSuffix(name, "_test.go") {
			allowed = slices.Concat(allowed, strings.Fields(tools), strings.Fields(row.tests), []string{folder})
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: import %s: %v", name, spec.Path.Value, err)
			}
			if !permitted(p, allowed) {
				t.Errorf("%s: imports %s: a part imports no other", name, p)
			}
		}
	}
	for folder := range star {
		if !seen[folder] {
			t.Errorf("the table of imports has %s, which holds no Go files", folder)
		}
	}
}

// permitted reports whether p is in the standard library or allowed. There is no global logger, wherever.
func permitted(p string, allowed []string) bool {
	switch p {
	case "log", "github.com/rs/zerolog/log", "C":
		return false
	}
	if own, ok := strings.CutPrefix(p, module+"/"); ok {
		return slices.Contains(allowed, own) || slices.Contains(allowed, "*")
	}
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") || slices.ContainsFunc(allowed, func(a string) bool {
		return a == "*" || p == a || strings.HasPrefix(p, a+"/")
	})
}

func TestPermitted(t *testing.T) {
	f := func(p, allowed string, want bool) {
		t.Helper()
		if got := permitted(p, strings.Fields(allowed)); got != want {
			t.Errorf("import %s, with %q: got %t, want %t", p, allowed, got, want)
		}
	}
	f("net/netip", "", true)
	f("log", "*", false)
	f("log/slog", "", true)
	f("github.com/rs/zerolog/log", shared, false)
	f("golang.org/x/sys/unix", "golang.org/x/sys", true)
	f("golang.org/x/sysx", "golang.org/x/sys", false)
	f(module+"/store", shared, false)
	f(module+"/store", "*", true)
	f(module+"/sinks/ipset", "sinks", false)
	f(module+"/pipeline/event", shared, true)
}

// A file holds one idea, and an idea fits into 400 lines.
func TestFilesAreShort(t *testing.T) {
	for name, text := range files(t) {
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			if n := strings.Count(text, "\n"); n > 400 {
				t.Errorf("%s: %d lines, want at most 400: find the second idea in it", name, n)
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	docs := map[string][]string{}
	for name, f := range sources(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		folder := path.Dir(name)
		docs[folder] = append(docs[folder], "")
		want := "Package " + f.Name.Name + " "
		if f.Name.Name == "main" {
			want = "Command " + path.Base(folder) + " "
		}
		switch doc := f.Doc.Text(); {
		case doc == "":
		case !strings.HasPrefix(doc, want):
			t.Errorf("%s: documentation begins %.30q, want %q", name, doc, want)
		default:
			docs[folder] = append(docs[folder], doc)
		}
	}
	for folder, texts := range docs {
		if slices.Max(texts) == "" {
			t.Errorf("%s: package has no documentation", folder)
		}
	}
}

// Only the command writes to standard output, and only it ends the process.
func TestPartsDoNotPrintOrExit(t *testing.T) {
	for name, f := range sources(t) {
		if strings.HasPrefix(name, "cmd/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				if fun.Name == "print" || fun.Name == "println" {
					t.Errorf("%s: calls %s", name, fun.Name)
				}
			case *ast.SelectorExpr:
				pkg, ok := fun.X.(*ast.Ident)
				if ok && (pkg.Name == "fmt" && strings.HasPrefix(fun.Sel.Name, "Print") || pkg.Name == "os" && fun.Sel.Name == "Exit") {
					t.Errorf("%s: calls %s.%s", name, pkg.Name, fun.Sel.Name)
				}
			}
			return true
		})
	}
}

// Libraries whose behaviour the code relies on beyond their interface, in the versions it was tried with.
var pins = map[string]string{
	"gopkg.in/mcuadros/go-syslog.v2": "v2.3.0",
	"github.com/vishvananda/netlink": "v1.3.1",
	"github.com/dgraph-io/badger/v4": "v4.9.6",
	"github.com/google/nftables":     "v0.3.0",
	"github.com/goccy/go-yaml":       "v1.19.2",
	"github.com/rs/zerolog":          "v1.35.1",
}

func TestVersionsArePinned(t *testing.T) {
	text := files(t)["go.mod"]
	for lib, version := range pins {
		if !strings.Contains(text, "\t"+lib+" "+version+"\n") && !strings.Contains(text, "\t"+lib+" "+version+" //") {
			t.Errorf("go.mod: want %s %s", lib, version)
		}
	}
	if !strings.HasPrefix(text, "module "+module+"\n") || !strings.Contains(text, "\ngo 1.26") {
		t.Errorf("go.mod: begins %.60q, want module %s, go 1.26", text, module)
	}
	if regexp.MustCompile(`(?m)^(replace|exclude|toolchain)\b`).MatchString(text) {
		t.Error("go.mod: replaces, excludes or names a toolchain: go install refuses such a module or it is not what others build")
	}
}

func TestLicenseIsApache(t *testing.T) {
	text := files(t)["LICENSE"]
	for _, want := range []string{"Apache License\n", "Version 2.0, January 2004\n", "END OF TERMS AND CONDITIONS\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("LICENSE: no %q", want)
		}
	}
}

func TestChangelogIsForOperators(t *testing.T) {
	text := files(t)["CHANGELOG.md"]
	if head := regexp.MustCompile(`(?m)^## .*`).FindString(text); head != "## tip" {
		t.Errorf("CHANGELOG.md: first heading: got %q, want %q", head, "## tip")
	}
	entry := regexp.MustCompile(`^\* \[(CHANGE|FEATURE|ENHANCEMENT|BUGFIX|SECURITY)\] [a-z][\w/, -]*: .*`)
	n := 0
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "* ") {
			n++
			if !entry.MatchString(line) {
				t.Errorf("CHANGELOG.md: got %q, want * [FEATURE] receiver: ...", line)
			}
		}
	}
	if n == 0 {
		t.Error("CHANGELOG.md: no entries")
	}
}

func TestJustfileHasItsRecipes(t *testing.T) {
	got := recipes(files(t)["Justfile"])
	for _, want := range strings.Fields("build test race lint fmt fuzz bench demo integration vuln ci") {
		if !slices.Contains(got, want) {
			t.Errorf("Justfile: no recipe %s with a comment above it: got %q", want, got)
		}
	}
	for _, script := range []string{"run", "lint", "fuzz"} {
		if st, err := os.Stat(filepath.Join(lab.Root(t), ".ci", script)); err != nil || st.Mode()&0o111 == 0 {
			t.Errorf(".ci/%s: want a program (%v)", script, err)
		}
	}
}

// recipes returns the recipes of a Justfile that have a comment above them.
func recipes(text string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^# .+\n([a-z]+)( [^:=]*=?[^:=]*)*:`).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// files returns every text file of the repository by its path below the root, what git ignores left out.
func files(t *testing.T) map[string]string {
	t.Helper()
	root := lab.Root(t)
	ignore := []string{"/.git"}
	if b, err := os.ReadFile(filepath.Join(root, ".gitignore")); err == nil {
		ignore = append(ignore, strings.Fields(string(b))...)
	}
	all := map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(file, root))
		if slices.ContainsFunc(ignore, func(pattern string) bool { return ignored(name, pattern) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(file)
		all[strings.TrimPrefix(name, "/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return all
}

// ignored reports whether a line of .gitignore, of those forms that ours has, covers name.
func ignored(name, pattern string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	if !strings.HasPrefix(pattern, "/") {
		name, pattern = path.Base(cmp.Or(name, "/")), path.Base(pattern)
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// sources parses every Go file of the repository.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	parsed := map[string]*ast.File{}
	all := files(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, all[name], parser.ParseComments)
		if err != nil {
			t.Fatalf("parse: %v", err)
		}
		parsed[name] = f
	}
	return parsed
}
