package filter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rapsheet/rapsheet/configs/value"
)

// shipped reads the filters that rapsheet comes with.
func shipped(t testing.TB) []Config {
	t.Helper()
	files, err := filepath.Glob("../../configs/filters/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("filters: got %d files, %v", len(files), err)
	}
	configs := make([]Config, len(files))
	for i, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalWithOptions(data, &configs[i], yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for j := range configs[i].Samples {
			configs[i].Samples[j].Line.Pos = value.Pos{File: filepath.Base(name), Line: j + 1}
		}
	}
	return configs
}

// compiled returns the set of the shipped filters.
func compiled(t testing.TB) *Set {
	t.Helper()
	s, errs := New(shipped(t))
	if len(errs) > 0 {
		t.Fatalf("shipped filters:\n%v", errs)
	}
	return s
}

func TestSamples(t *testing.T) {
	s := compiled(t)
	configs := shipped(t)
	for i := range configs {
		c := &configs[i]
		if len(c.Samples) < 10 {
			t.Errorf("%s: got %d samples, want at least 10", c.Service.S, len(c.Samples))
		}
		for _, err := range c.Check(s) {
			t.Errorf("%s: %v\n%s", c.Service.S, err, c.Samples[max(0, err.Line-1)].Line.S)
		}
	}
}
