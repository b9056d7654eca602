package integration

import (
	"os"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
