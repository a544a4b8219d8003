package top

import (
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Flows is the names of the flows that the service watches.
type Flows []string

// Timeline is the flow's last hour.
type Timeline struct {
	Flow   string
	Points []*relayv1.TimelinePoint
}

// Sample is one sample of the flow.
type Sample struct {
	Flow  string
	Stats *relayv1.Stats
	At    time.Time // when it came, by the clock of this host
}

// Groups is the dead letters of the flow by what they have in common.
type Groups struct {
	Flow       string
	Groups     []*relayv1.DeadLetterGroup
	Incomplete bool
	Err        error // why there are none
}

// Trouble says that the service cannot be asked. The Feed tries again by itself.
type Trouble struct {
	Flow string
	Err  error
}

// Clock is the present time, twice a second.
type Clock time.Time
