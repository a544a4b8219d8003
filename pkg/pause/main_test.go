package pause_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }
