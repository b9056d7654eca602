package configs

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/filter"
)

// The defaults, and the filters that come with the program.
//
//go:embed rapsheet.yaml filters
var builtin embed.FS

// Dir is where the configuration of the host lies.
const Dir = "/etc/rapsheet"

// Options say where to look.
type Options struct {
	File string // read instead of all that lies in Dir; the defaults stay below it
	Dir  string // holds rapsheet.yaml, conf.d and filters; empty: Dir
}

// A Result is what was read, with all that is wrong with it.
type Result struct {
	Config   *Config         // without the jails that cannot start
	Filters  []filter.Config // those that compile, by service
	Errors   value.Errors    // in the order of the files
	Warnings value.Errors    // what works and is dangerous
	Files    []string        // the host's files that were read, in order
	Fatal    bool            // beyond single jails and filters: the daemon cannot start with it

	root    *node
	sources map[string][]byte
	hard    value.Errors
	soft    value.Errors
}

// Load reads the configuration. It goes on after every mistake: Errors holds them all, and where Fatal is false the
// rest of the configuration is whole.
func Load(o Options) *Result {
	r := &Result{Config: new(Config), sources: map[string][]byte{}}
	if o.Dir == "" {
		o.Dir = Dir
	}
	src, err := builtin.ReadFile("rapsheet.yaml")
	if err != nil {
		r.hard.Add(value.Pos{}, "", "defaults: %v", err)
	}
	r.sources["rapsheet.yaml"] = src
	r.root = parse("rapsheet.yaml", src, true, &r.hard)
	for _, file := range r.find(o) {
		r.overlay(file)
	}
	d := decoder{}
	d.decode(r.root, valueOf(r.Config), "configuration")
	r.hard = append(r.hard, d.errs...)
	r.soft = append(r.soft, d.soft...)
	r.Warnings = append(r.Warnings, d.warn...)
	r.Config.defaults()
	services := r.loadFilters(o.Dir)
	r.check(services)
	r.finish()
	return r
}

// find returns the host's files in the order in which they are laid over each other.
func (r *Result) find(o Options) []string {
	if o.File != "" {
		return []string{o.File}
	}
	var files []string
	main := filepath.Join(o.Dir, "rapsheet.yaml")
	if _, err := os.Stat(main); !errors.Is(err, fs.ErrNotExist) {
		files = append(files, main)
	}
	return append(files, r.folder(filepath.Join(o.Dir, "conf.d"), &r.hard)...)
}

// folder returns the YAML files of a folder, sorted. A folder that is not there is empty.
func (r *Result) folder(dir string, errs *value.Errors) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs.Add(value.Pos{File: dir}, "", "%v", cause(err))
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasPrefix(name, ".") || e.IsDir():
		case filepath.Ext(name) == ".yaml":
			files = append(files, filepath.Join(dir, name))
		case filepath.Ext(name) == ".yml":
			r.Warnings.Add(value.Pos{File: filepath.Join(dir, name)}, "name it .yaml", "not read")
		}
	}
	return files
}

// read returns the tree of one file of the host, nil if there is none.
func (r *Result) read(file string, errs *value.Errors) *node {
	src, mode, err := slurp(file)
	if err == nil {
		err = shallow(src)
	}
	if err != nil {
		errs.Add(value.Pos{File: file}, "", "%v", cause(err))
		return nil
	}
	if mode.Perm()&0o002 != 0 {
		r.Warnings.Add(value.Pos{File: file}, "chmod o-w", "every account may write this file")
	}
	r.Files = append(r.Files, file)
	r.sources[file] = src
	return parse(file, src, false, errs)
}

// slurp reads a regular file of at most maxFile bytes. Whatever else bears the name, a device or a pipe, is not waited
// for.
func slurp(file string) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(src) > maxFile {
		err = fmt.Errorf("file is larger than %d bytes", maxFile)
	}
	return src, info.Mode(), err
}

// maxBrackets is how deep brackets may be nested: the parser's time grows with the square of it.
const maxBrackets = 100

// shallow refuses a file whose brackets are nested deeper than anybody writes.
func shallow(src []byte) error {
	depth := 0
	for _, c := range src {
		switch c {
		case '[', '{':
			if depth++; depth > maxBrackets {
				return fmt.Errorf("brackets are nested deeper than %d", maxBrackets)
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return nil
}

// overlay lays one file over what was read before.
func (r *Result) overlay(file string) {
	n := r.read(file, &r.hard)
	if n == nil || n.kind == null {
		return
	}
	if n.kind != mapping {
		r.hard.Add(n.pos, "", "a configuration is a map, not %s", n.kind)
		return
	}
	if below, jails := r.root.get("jails"), n.get("jails"); jails != nil {
		for i := range jails.fields {
			f := &jails.fields[i]
			if f.node.off() && below.get(f.key) == nil {
				r.Warnings.Add(f.pos, suggest(f.key, below.keys()), "there is no jail %s to switch off", plain(f.key))
			}
		}
	}
	r.root = merge(r.root, n)
}

// cause is the error without the path, which stands in front anyway.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// valueOf returns what p points at, as the decoder wants it.
func valueOf(p any) reflect.Value { return reflect.ValueOf(p).Elem() }
