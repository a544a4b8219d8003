package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// interruption is why a session ended and what that makes of the listener.
type interruption struct {
	state  State
	remedy string // what an operator can do; empty when waiting helps
	err    error
}

func (i *interruption) Error() string {
	if i.remedy == "" {
		return i.err.Error()
	}

	return i.err.Error() + "; " + i.remedy
}

func (i *interruption) Unwrap() error { return i.err }

// terminal tells whether only an operator can settle it.
func (i *interruption) terminal() bool { return i.state == Failed || i.state == HistoryLost }

func failed(err error, remedy string) *interruption {
	return &interruption{state: Failed, err: err, remedy: remedy}
}

// streamTrouble classifies an error of the NATS side. seen says that the stream
// was there before: then its absence is a loss, otherwise flow init has not run
// yet.
func streamTrouble(err error, flow string, seen bool) *interruption {
	missing := errors.Is(err, topology.ErrNoStream) || errors.Is(err, topology.ErrNoMessage) ||
		errors.Is(err, jetstream.ErrStreamNotFound)

	switch {
	case missing && !seen:
		return &interruption{
			state: Starting, err: err,
			remedy: fmt.Sprintf("make the stream with: relayctl flow init (FLOW=%s)", flow),
		}
	case missing:
		return failed(err, "the stream was there before and is gone, and with it the resume point; "+
			"restore it from a backup; or record the gap and go on with relayctl flow accept-gap; or start over with relayctl flow delete and relayctl flow init")
	case errors.Is(err, topology.ErrForeignStream), errors.Is(err, topology.ErrConfigDiffers):
		return failed(err, "undo the change of the stream's configuration, or start over with relayctl flow delete and relayctl flow init")
	case errors.Is(err, chain.ErrForeignTail), errors.Is(err, event.ErrMalformed):
		return failed(err, fmt.Sprintf("somebody else writes to the flow's subjects: find out who (nats stream get %s) and forbid it", topology.StreamName(flow)))
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return &interruption{state: Waiting, err: err, remedy: "enable JetStream on the NATS server (nats-server -js) and for this account"}
	case errors.Is(err, nats.ErrMaxPayload): // events are cut so that they pass
		return failed(err, "a marker, which has the namespace patterns and the pinned collections in it, is larger than the NATS server takes: "+
			"raise max_payload there and restart the listener, or give fewer patterns")
	case errors.Is(err, chain.ErrStreamFull):
		return &interruption{state: Waiting, err: err, remedy: "the stream has reached max_bytes: let the processors catch up, or raise it"}
	default:
		return &interruption{state: Waiting, err: err}
	}
}

// acceptGap is the only way on without what is missing.
const acceptGap = "to go on without what is missing, which is recorded for ever: relayctl flow accept-gap --reason …; " +
	"else copy the data again and start over with relayctl flow delete and relayctl flow init"

// sourceTrouble classifies an error of the source's side.
func sourceTrouble(err error) *interruption {
	switch {
	case errors.Is(err, context.Canceled):
		return &interruption{state: Stalled, err: err}
	case mongodb.IsHistoryLost(err):
		return &interruption{
			state: HistoryLost, err: err,
			remedy: "the source's oplog no longer reaches back to the stream's tail: give the source a longer oplog, and " + acceptGap,
		}
	case mongodb.IsInvalidResumeToken(err):
		return &interruption{
			state: HistoryLost, err: err,
			remedy: "the source does not know the stream's resume token: check that SOURCE_URI names the deployment " +
				"that the stream was made from and that it was not restored from a backup; " + acceptGap,
		}
	case mongodb.IsMissingImage(err):
		return failed(err, "an image that FULL_DOCUMENT requires is gone: set FULL_DOCUMENT=delta")
	case mongodb.IsEventTooLarge(err):
		return failed(err, "an event is above 16 MiB, and a source before MongoDB 6.0.9 does not split those: upgrade it to 6.0.9, 7.0 or later; "+
			"or set FULL_DOCUMENT=delta and FULL_DOCUMENT_BEFORE_CHANGE=off, if the images make it so large; then restart the listener")
	case mongodb.IsUnauthorized(err), errors.Is(err, mongodb.ErrStandalone):
		return failed(err, mongodb.Explain(err))
	case errors.Is(err, event.ErrMalformed):
		return failed(err, "the source sent an event that this version does not understand")
	default:
		return &interruption{state: Stalled, err: err, remedy: mongodb.Explain(err)}
	}
}
