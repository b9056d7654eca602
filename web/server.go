// Package web is the HTTP API: JSON over a unix socket whose callers the kernel names. It knows nothing of bans; who
// wires the daemon together hands it a handler for each path.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Errors that a handler wraps to choose the answer's status. All others are answered with 500.
var (
	ErrUsage    = errors.New("wrong usage")   // 400
	ErrDenied   = errors.New("not permitted") // 403
	ErrNotFound = errors.New("not found")     // 404
	ErrConflict = errors.New("refused")       // 409
)

var statusOf = []struct {
	err  error
	code int
}{{ErrUsage, http.StatusBadRequest}, {ErrDenied, http.StatusForbidden}, {ErrNotFound, http.StatusNotFound}, {ErrConflict, http.StatusConflict}}

// A Request is one call.
type Request struct {
	UID  int               // who calls, as the kernel says
	Args map[string]string // the wildcards of the path and the query
	Body []byte            // at most maxBody
}

// Decode reads the body into v. An empty or a wrong one is ErrUsage.
func (r *Request) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", ErrUsage, err)
	}
	return nil
}

// A Handler answers a call with something that encodes to JSON.
type Handler func(ctx context.Context, r *Request) (any, error)

const maxBody = 16 << 20 // a list of bans

// A Server answers on one socket.
type Server struct {
	mux      *http.ServeMux
	listener net.Listener
	http     http.Server
	admins   []int
	path     string
}

// Listen makes the socket: 0660, so that its group may read; what changes something is for uid 0, for the daemon's own
// uid and for admins. A socket file that nobody answers on is replaced.
func Listen(cfg Config) (*Server, error) {
	s := &Server{mux: http.NewServeMux(), path: cfg.Socket.S, admins: []int{0, os.Geteuid()}}
	for _, a := range cfg.Admins {
		uid, err := uidOf(a.S)
		if err != nil {
			return nil, fmt.Errorf("web: admins: %w", err)
		}
		s.admins = append(s.admins, uid)
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if err := removeStale(s.path); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if err := os.Chmod(s.path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("web: %w", err)
	}
	if g, err := user.LookupGroup("rapsheet"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(s.path, -1, gid) // without the right to, the socket stays our own group's
		}
	}
	s.listener = l
	s.http = http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerUID(c))
		},
	}
	return s, nil
}

// removeStale removes a socket file that nobody answers on; whatever else lies there stays, and binding says so.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return nil
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) { // a daemon that hangs, with a full backlog, still owns it
		return fmt.Errorf("%s: another rapsheet answers there", path)
	}
	return os.Remove(path)
}

func uidOf(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

// Read answers GET calls of anybody who may open the socket. Pattern is a path of http.ServeMux: /v1/offenders/{addr}.
func (s *Server) Read(pattern string, h Handler) {
	s.mux.HandleFunc("GET "+pattern, s.serve(h, false))
}

// Change answers calls of the method that admins may make.
func (s *Server) Change(method, pattern string, h Handler) {
	s.mux.HandleFunc(method+" "+pattern, s.serve(h, true))
}

func (s *Server) serve(h Handler, change bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		uid, ok := r.Context().Value(peerKey{}).(int)
		if !ok || uid < 0 || change && !slices.Contains(s.admins, uid) {
			answer(w, nil, fmt.Errorf("%w: uid %d is not among the admins", ErrDenied, uid))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			answer(w, nil, fmt.Errorf("%w: %v", ErrUsage, err))
			return
		}
		req := &Request{UID: uid, Args: make(map[string]string), Body: body}
		for k, v := range r.URL.Query() {
			req.Args[k] = v[0]
		}
		for _, k := range wildcards(r.Pattern) {
			req.Args[k] = r.PathValue(k)
		}
		v, err := h(r.Context(), req)
		answer(w, v, err)
	}
}

func wildcards(pattern string) (names []string) {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '{' {
			continue
		}
		j := i + 1
		for j < len(pattern) && pattern[j] != '}' && pattern[j] != '.' {
			j++
		}
		names = append(names, pattern[i+1:j])
		i = j
	}
	return names
}

// A failure is how errors travel.
type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, v any, err error) {
	code := http.StatusOK
	if err != nil {
		code, v = http.StatusInternalServerError, failure{err.Error()}
		for _, s := range statusOf {
			if errors.Is(err, s.err) {
				code = s.code
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a caller that went away
}

// Run answers until ctx ends, lets the calls under way finish, and removes the socket.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.http.Shutdown(last); err != nil {
		_ = s.http.Close() // whoever has not sent his call by now gets no answer
	}
	return nil
}

// Close gives the socket back without a Run.
func (s *Server) Close() error { return s.listener.Close() }

type peerKey struct{}

// peerUID asks the kernel who is at the other end (SO_PEERCRED, unix(7)); -1 where it can't say.
func peerUID(c net.Conn) int {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return -1
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}
