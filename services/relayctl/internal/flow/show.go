package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Shown is what Show tells: the settings of the stream and its figures.
type Shown struct {
	Flow string `json:"flow"`

	// As the stats service says, which Show does not ask.
	State               string           `json:"state"` // StateRunning or StatePaused; empty where it is not known
	StateUnknownBecause string           `json:"state_unknown_because,omitempty"`
	Pause               *ShownPause      `json:"pause"` // null while it runs
	PausedNamespaces    []ShownNamespace `json:"paused_namespaces"`

	Stream      string   `json:"stream"`
	StreamID    string   `json:"stream_id"`
	Source      string   `json:"source"`
	Partitions  int      `json:"partitions"`
	DDL         bool     `json:"ddl"`
	SkipOrigins []string `json:"skip_origins"`
	Publish     string   `json:"publish"` // chain or batch
	Replicas    int      `json:"replicas"`

	FirstSequence uint64 `json:"first_sequence"`
	LastSequence  uint64 `json:"last_sequence"`
	Messages      uint64 `json:"messages"`
	Bytes         uint64 `json:"bytes"`
	MaxBytes      int64  `json:"max_bytes"`
	Consumers     int    `json:"consumers"`

	// Of the last message; null when the stream is empty.
	Tail *ShownTail `json:"tail"`

	// Pinned is the routing table as of the last marker, the whole source's.
	Pinned []ShownPin `json:"pinned"`
}

// States of a flow, as a person wants it.
const (
	StateRunning = "running"
	StatePaused  = "paused"
)

// ShownPause is who paused the flow.
type ShownPause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Text   string    `json:"-"` // all of it, for people
}

// ShownNamespace is a namespace that is paused.
type ShownNamespace struct {
	Namespace string     `json:"namespace"` // "db.coll", or "db"
	Pause     ShownPause `json:"pause"`
}

// ShownPin is a collection whose events are not spread by document.
type ShownPin struct {
	Namespace string `json:"namespace"`
	Pin       string `json:"pin"` // capped, collation, or encrypted: its events are skipped
	Partition int    `json:"partition"`
}

// ShownTail is the stream's last message.
type ShownTail struct {
	Event      uint64 `json:"event"`   // events of the source counted so far
	Skipped    uint64 `json:"skipped"` // of them left out
	Generation uint64 `json:"generation"`
	Position   string `json:"position"`
	// ResumeToken is where the source is read on from, base64; flow accept-gap takes it.
	ResumeToken string    `json:"resume_token"`
	StoreTime   time.Time `json:"store_time"`
}

// Show reads the flow's stream.
func Show(ctx context.Context, s *ShowSettings, log *slog.Logger) (*Shown, error) {
	nc, js, err := connectNATS(ctx, &s.Connection, log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()

	stream, err := openStream(ctx, js, &s.Connection)
	if err != nil {
		return nil, err
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return nil, natsTrouble(s.NATS.URL, err)
	}

	shown := &Shown{
		Flow: s.Flow, Stream: stream.Name(), StreamID: stream.StreamID, Source: stream.Source, Partitions: stream.Partitions, DDL: stream.DDL,
		SkipOrigins: append([]string{}, stream.SkipOrigins...),
		Publish:     string(stream.Publish), Replicas: stream.Replicas,
		FirstSequence: state.FirstSeq, LastSequence: state.LastSeq, Messages: state.Msgs, Bytes: state.Bytes, MaxBytes: config.MaxBytes,
		Consumers: state.Consumers, Pinned: []ShownPin{}, PausedNamespaces: []ShownNamespace{},
	}

	tail, err := stream.Tail(ctx)
	if errors.Is(err, topology.ErrNoMessage) {
		return shown, nil
	}

	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", s.NATS.URL, err)
	}

	shown.Tail = &ShownTail{
		Event: tail.Event, Skipped: tail.Skipped, Generation: tail.Generation, Position: tail.Position.String(),
		ResumeToken: base64.RawStdEncoding.EncodeToString(tail.ResumeToken), StoreTime: tail.Time,
	}

	if shown.Pinned, err = pinsOf(ctx, stream); err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", s.NATS.URL, err)
	}

	return shown, nil
}

// pinsOf reads the routing table of the last marker.
func pinsOf(ctx context.Context, stream *topology.Stream) ([]ShownPin, error) {
	last, err := stream.LastMarker(ctx)
	if err != nil {
		return nil, err
	}

	marker, err := last.Marker()
	if err != nil {
		return nil, err
	}

	table, err := routing.FromMarker(marker, stream.Partitions)
	if err != nil {
		return nil, err
	}

	pins := []ShownPin{}

	for _, e := range table.Entries() {
		pin := ShownPin{Namespace: e.Namespace.String(), Pin: e.Pin.String(), Partition: e.Partition}
		if e.Encrypted {
			pin.Pin = "encrypted"
		}

		pins = append(pins, pin)
	}

	return pins, nil
}
