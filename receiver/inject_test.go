package receiver

import (
	"net"
	"reflect"
	"testing"

	"gopkg.in/mcuadros/go-syslog.v2"
)

func TestLayout(t *testing.T) {
	f := func(name string, want reflect.Type) {
		t.Helper()
		field, ok := reflect.TypeFor[syslog.Server]().FieldByName(name)
		if !ok || field.Type != want {
			t.Errorf("syslog.Server.%s: got %v, want %v", name, field.Type, want)
		}
	}
	f("listeners", reflect.TypeFor[[]net.Listener]())
	f("connections", reflect.TypeFor[[]net.PacketConn]())
	f("doneTcp", reflect.TypeFor[chan bool]())
}

func TestSetRefusesAnotherLayout(t *testing.T) {
	s := syslog.NewServer()
	if err := set(s, "listener", []net.Listener(nil)); err == nil {
		t.Error("set of a field that is not there: no error")
	}
	if err := set(s, "listeners", []net.Conn(nil)); err == nil {
		t.Error("set of another type: no error")
	}
}
