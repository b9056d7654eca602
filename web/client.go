package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// ErrNoDaemon is returned by Call where no daemon answers on the socket.
var ErrNoDaemon = errors.New("no rapsheet daemon answers")

// Call sends in, unless nil, as JSON to the daemon on the socket and reads its answer into out, unless nil. Errors of
// the daemon keep their kind: errors.Is works with ErrNotFound and its like.
func Call(ctx context.Context, socket, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("web: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://rapsheet"+path, body)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrNoDaemon, socket)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: %s is for root and the group rapsheet", ErrDenied, socket)
	case err != nil:
		return fmt.Errorf("web: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return failed(resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// failed makes the daemon's error anew.
func failed(code int, body []byte) error {
	var f failure
	if json.Unmarshal(body, &f) != nil || f.Error == "" {
		f.Error = http.StatusText(code)
	}
	for _, s := range statusOf {
		if s.code == code {
			return fmt.Errorf("%w%s", s.err, strings.TrimPrefix(f.Error, s.err.Error()))
		}
	}
	return errors.New(f.Error)
}
