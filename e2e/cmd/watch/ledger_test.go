package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/diary"
	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/views"
)

// What happens to a frozen process is one fault, which ends with the last of it.
func TestLedger(t *testing.T) {
	t.Parallel()

	var g ledger

	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	nobody := views.New(views.Options{})
	strike := func(second int, s fault.Strike) {
		g.strike(&diary.Entry{At: noon.Add(time.Duration(second) * time.Second), Strike: &s}, nobody)
	}

	strike(0, fault.Strike{Number: 1, Kind: fault.Freeze, Service: "processor", PID: 10})
	strike(1, fault.Strike{Number: 2, Kind: fault.Freeze, Service: "processor-2", PID: 20})
	strike(2, fault.Strike{Number: 3, Kind: fault.Freeze, Service: "processor", PID: 10}) // is frozen already
	strike(3, fault.Strike{Number: 4, Kind: fault.Kill, Service: "processor-2", PID: 20})
	strike(7, fault.Strike{Number: 1, Kind: fault.Freeze, Service: "processor", PID: 10, Ended: true})
	strike(8, fault.Strike{Number: 2, Kind: fault.Freeze, Service: "processor-2", PID: 20, Ended: true}) // another process by now
	strike(9, fault.Strike{Number: 3, Kind: fault.Freeze, Service: "processor", PID: 10, Ended: true})
	strike(10, fault.Strike{Number: 5, Kind: fault.Leave, Service: "processor-2", PID: 21})

	require.Len(t, g.faults, 3)

	require.Equal(t, noon.Add(7*time.Second), g.faults[0].end)
	require.True(t, g.faults[0].mustBeNamed())

	require.True(t, g.faults[1].killed)
	require.Equal(t, noon.Add(3*time.Second+leaseTTL), g.faults[1].end, "its leases last so long")
	require.False(t, g.faults[1].mustBeNamed(), "it owned nothing")

	require.False(t, g.faults[2].mustBeNamed(), "it left in order")

	require.Equal(t, 1, g.active(noon.Add(9*time.Second), g.faults[1]), "of the first one something may still be told")
	require.Zero(t, g.active(noon.Add(11*time.Second), g.faults[1]))
}
