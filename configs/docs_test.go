package configs

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func reference(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// Every example of the reference loads, and nothing in it is dangerous.
func TestReferenceExamples(t *testing.T) {
	blocks := codeBlocks(reference(t), "yaml")
	if len(blocks) < 4 {
		t.Fatalf("got %d examples, want 4 or more", len(blocks))
	}
	for _, b := range blocks {
		r := Load(Options{Dir: host(t, "rapsheet.yaml", b)})
		if r.Errors != nil || r.Warnings != nil {
			t.Errorf("%s\n%v\n%v", b, r.Errors, r.Warnings)
		}
	}
}

// The mistakes that the reference shows are told of as it shows them.
func TestReferenceMistakes(t *testing.T) {
	doc := reference(t)
	wrong, said := codeBlocks(doc, "yaml wrong"), codeBlocks(doc, "text")
	if len(wrong) != 1 || len(said) != 1 {
		t.Fatalf("got %d wrong examples and %d answers, want one of each", len(wrong), len(said))
	}
	dir := host(t, "rapsheet.yaml", wrong[0])
	r := Load(Options{Dir: dir})
	for _, e := range r.Errors {
		e.File = strings.Replace(e.File, dir, Dir, 1)
	}
	var b strings.Builder
	if err := Report(&b, r.Errors); err != nil {
		t.Fatal(err)
	}
	if b.String() != said[0] {
		t.Errorf("got\n%s\nwant\n%s", b.String(), said[0])
	}
}

// Every key that a file may have is in the reference and in the defaults' comments.
func TestEveryKeyIsDocumented(t *testing.T) {
	defaults, err := builtin.ReadFile("rapsheet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc := reference(t)
	for _, key := range allKeys(reflect.TypeFor[Config]()) {
		if !strings.Contains(doc, "`"+key+"`") {
			t.Errorf("docs/configuration.md: no word of %s", key)
		}
		if !regexp.MustCompile(`\b` + key + `\b`).Match(defaults) {
			t.Errorf("rapsheet.yaml: no word of %s", key)
		}
	}
}

func allKeys(t reflect.Type) []string {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var list []string
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("yaml")
		name, _, _ := strings.Cut(tag, ",")
		if !ok || name == "-" {
			continue
		}
		if name != "" {
			list = append(list, name)
		}
		list = append(list, allKeys(t.Field(i).Type)...)
	}
	return list
}
