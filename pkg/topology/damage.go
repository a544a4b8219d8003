package topology

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Damage is what the server says of messages that are missing.
type Damage struct {
	Deleted uint64 // missing between the first and the last one
	Lost    uint64 // that it could not read
}

// Exceeds tells whether there is more than was known.
func (d Damage) Exceeds(known Damage) bool { return d.Deleted > known.Deleted || d.Lost > known.Lost }

// AtMost is the damage without what another one has not, in each figure by itself.
func (d Damage) AtMost(other Damage) Damage {
	return Damage{Deleted: min(d.Deleted, other.Deleted), Lost: min(d.Lost, other.Lost)}
}

// streamInfo is what of the server's answer nats.go leaves out, or is needed
// beside it.
type streamInfo struct {
	Error *jetstream.APIError `json:"error"`
	State struct {
		Deleted uint64 `json:"num_deleted"`
		Lost    struct {
			Messages []uint64 `json:"msgs"`
		} `json:"lost"`
	} `json:"state"`
}

// Requester is what LookForDamage asks of a connection: *nats.Conn.
type Requester interface {
	RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

// LookForDamage asks the server what the stream of this name lacks.
func LookForDamage(ctx context.Context, nc Requester, stream string) (Damage, error) {
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+stream, nil)
	if err != nil {
		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, err)
	}

	var info streamInfo
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, err)
	}

	if info.Error != nil {
		if info.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, ErrNoStream)
		}

		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, info.Error)
	}

	return Damage{Deleted: info.State.Deleted, Lost: uint64(len(info.State.Lost.Messages))}, nil
}

// MissingEvents compares what the stream's last message has counted since its last
// marker with the heads there and then: so many events are in no partition, for every
// event that is not skipped raises one head by one.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func MissingEvents(last, marker *event.Message, heads, marked []uint64) int64 {
	counted := int64(last.Event-last.Skipped) - int64(marker.Event-marker.Skipped)
	if !last.EndsEvent() {
		counted-- // it has not happened yet
	}

	for i := range heads {
		counted -= int64(heads[i]) - int64(marked[i])
	}

	return counted
}
