package configs

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/filter"
)

// A source is one filter file.
type source struct {
	file   string
	config filter.Config
}

// loadFilters reads the filters inside the binary and the host's own, which replace those of the same file name or
// service. A filter that does not compile is left out, and if it was to replace one, that one stays. It returns every
// service that was named, also the broken ones: their jails are not to be blamed.
func (r *Result) loadFilters(dir string) (services []string) {
	dir = r.filterDir(dir)
	ours := r.builtinFilters()
	var own []source
	for _, file := range r.folder(dir, &r.soft) {
		before := len(r.soft)
		root := r.read(file, &r.soft)
		if root == nil && len(r.soft) == before {
			r.soft.Add(value.Pos{File: file}, "", "filter is empty")
		}
		s, ok := r.filter(file, root)
		if s.config.Service.S != "" {
			services = append(services, s.config.Service.S)
		}
		if !ok {
			if slices.ContainsFunc(ours, s.same) {
				r.Warnings.Add(value.Pos{File: file}, "", "the built-in filter is used instead")
			}
			continue
		}
		if i := slices.IndexFunc(own, func(o source) bool { return o.config.Service.S == s.config.Service.S }); i >= 0 {
			r.soft.Add(s.config.Service.Pos, "", "service %s stands already in %s", plain(s.config.Service.S), own[i].file)
			continue
		}
		ours = slices.DeleteFunc(ours, s.same)
		own = append(own, s)
	}
	all := append(ours, own...)
	slices.SortFunc(all, func(a, b source) int { return strings.Compare(a.config.Service.S, b.config.Service.S) })
	for _, s := range all {
		r.Filters = append(r.Filters, s.config)
		services = append(services, s.config.Service.S)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// filterDir is the folder of the host's filters. The default lies beside the configuration; a path that is written is
// relative to the file it is written in.
func (r *Result) filterDir(dir string) string {
	f := r.Config.Filters
	switch {
	case f.Line == 0:
		return filepath.Join(dir, "filters")
	case filepath.IsAbs(f.S):
		return f.S
	}
	return filepath.Join(filepath.Dir(f.File), f.S)
}

func (r *Result) builtinFilters() []source {
	names, err := builtin.ReadDir("filters")
	if err != nil {
		r.hard.Add(value.Pos{}, "", "filters: %v", err)
	}
	var list []source
	for _, e := range names {
		if path.Ext(e.Name()) != ".yaml" {
			continue
		}
		file := path.Join("built-in", "filters", e.Name())
		src, err := builtin.ReadFile(path.Join("filters", e.Name()))
		if err != nil {
			r.soft.Add(value.Pos{File: file}, "", "%v", err)
			continue
		}
		r.sources[file] = src
		if s, ok := r.filter(file, parse(file, src, false, &r.soft)); ok {
			list = append(list, s)
		}
	}
	return list
}

// filter decodes and compiles one filter, and reports whether it can be used.
func (r *Result) filter(file string, root *node) (source, bool) {
	s := source{file: file}
	if root == nil {
		return s, false
	}
	d := decoder{}
	d.decode(root, valueOf(&s.config), "filter")
	if len(d.errs) == 0 {
		_, d.errs = filter.New([]filter.Config{s.config})
	}
	for _, e := range d.errs {
		if e.File == "" {
			e.File = file
		}
	}
	r.soft = append(r.soft, d.errs...)
	return s, len(d.errs) == 0
}

// same reports whether s takes the place of o.
func (s source) same(o source) bool {
	return filepath.Base(s.file) == path.Base(o.file) || s.config.Service.S == o.config.Service.S
}
