// Package stepwise is the listener for who has the time, the source and the NATS of
// his own: the cores of this service, wired as in the service, one step at a time. The
// joint simulation of the flow runs it; the service does not.
//
// It only gives names to what lies behind internal: no decision is made here.
package stepwise

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// The listener.
type (
	// Steps is a listener.
	Steps = capture.Steps
	// Options is what it is told.
	Options = capture.Options
	// Status is what it says of itself.
	Status = capture.Status
	// Change is what the source gives it.
	Change = changestream.Change
)

// Conn is what it asks of a connection to NATS: *nats.Conn, or a model of one.
type Conn interface {
	PublishMsg(msg *nats.Msg) error
	NewInbox() string
	ChanSubscribe(subject string, channel chan *nats.Msg) (*nats.Subscription, error)
	RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
	FlushWithContext(ctx context.Context) error
	MaxPayload() int64
	StatusChanged(statuses ...nats.Status) chan nats.Status
	RemoveStatusListener(listener chan nats.Status)
}

// NewSteps is capture.NewSteps.
func NewSteps(nc Conn, js jetstream.JetStream, writer uint64, options Options) (*Steps, error) {
	return capture.NewSteps(nc, js, writer, options)
}
