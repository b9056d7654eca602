package receiver

import (
	"fmt"
	"net"
	"reflect"

	"gopkg.in/mcuadros/go-syslog.v2"
)

// inject gives a Server sockets that it did not open itself, before Boot. go-syslog has no way to pass one in: its own have
// a 64 KiB buffer that loses messages, no limits, and a Kill that panics under load. The layout can't change: the module is
// pinned at its last version, and a test checks these three fields.
func inject(s *syslog.Server, listeners []net.Listener, connections []net.PacketConn) error {
	if err := set(s, "listeners", listeners); err != nil {
		return err
	}
	if err := set(s, "connections", connections); err != nil {
		return err
	}
	return set(s, "doneTcp", make(chan bool))
}

func set[T any](s *syslog.Server, name string, v T) error {
	f := reflect.ValueOf(s).Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return fmt.Errorf("go-syslog has another layout: no field %s of type %s", name, reflect.TypeFor[T]())
	}
	*(*T)(f.Addr().UnsafePointer()) = v
	return nil
}
