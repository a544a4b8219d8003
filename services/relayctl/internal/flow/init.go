package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Made is the result of Init.
type Made struct {
	Flow     string   `json:"flow"`
	Stream   string   `json:"stream"`
	StreamID string   `json:"stream_id"`
	Created  bool     `json:"created"` // false: it was there and agrees
	Notes    []string `json:"notes"`   // what the operator should know
}

// initialisation is one run of Init.
type initialisation struct {
	*InitSettings

	js  jetstream.JetStream
	set map[string]bool // variables that were given explicitly
	by  Operator
}

// quicker is how often another init can be: with the stream, and then with its message 1. After each there is more to
// find.
const quicker = 2

// Init makes the flow's buckets, stream and message 1, or finds them made. set
// names the variables that were given explicitly: those must agree with a
// stream that exists. It waits for servers that are away until ctx ends.
// A flow that is made, or whose making is finished, is in the audit of the target.
func Init(ctx context.Context, s *InitSettings, set map[string]bool, by Operator, log *slog.Logger) (*Made, error) {
	nc, js, err := connectNATS(ctx, &s.Connection, log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()

	i := &initialisation{InitSettings: s, js: js, set: set, by: by}

	made, err := i.run(ctx)
	for again := 0; again < quicker && (errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, errNotFirst)); again++ {
		made, err = i.run(ctx)
	}

	return made, gaveUp(ctx, err)
}

func (i *initialisation) run(ctx context.Context) (*Made, error) {
	stream, err := topology.Open(ctx, i.js, i.Flow)
	if errors.Is(err, topology.ErrNoStream) {
		return i.create(ctx)
	}

	if err != nil {
		return nil, openTrouble(i.NATS.URL, i.Flow, err)
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return nil, natsTrouble(i.NATS.URL, err)
	}

	if err := i.compare(stream, config.MaxBytes); err != nil {
		return nil, err
	}

	if state.LastSeq == 0 {
		return i.finish(ctx, stream)
	}

	if err := topology.CreateBuckets(ctx, i.js, stream.Replicas); err != nil {
		return nil, err
	}

	return i.made(stream, false, nil), nil
}

func (i *initialisation) made(stream *topology.Stream, created bool, notes []string) *Made {
	return &Made{
		Flow: i.Flow, Stream: stream.Name(), StreamID: stream.StreamID, Created: created,
		Notes: append([]string{}, notes...), // never null in JSON
	}
}

// compare refuses a stream that differs from what was asked for by name.
func (i *initialisation) compare(stream *topology.Stream, maxBytes int64) error {
	var differences []string

	check := func(variable string, asked, live any) {
		if i.set[variable] && asked != live {
			differences = append(differences, fmt.Sprintf("%s=%v, the stream has %v", variable, asked, live))
		}
	}

	check("PARTITIONS", i.Partitions, stream.Partitions)
	check("DDL", onOff(i.ReplicatesSchema()), onOff(stream.DDL))
	check("SKIP_ORIGINS", i.SkipOrigins.String(), strings.Join(stream.SkipOrigins, ","))
	check("STREAM_REPLICAS", i.Replicas, stream.Replicas)
	check("STREAM_PUBLISH", i.Publish, string(stream.Publish))
	check("STREAM_MAX_BYTES", int64(i.MaxBytes), maxBytes)

	if len(differences) == 0 {
		return nil
	}

	return &RefusedError{
		What: fmt.Sprintf("stream %s exists with other settings: %s", stream.Name(), strings.Join(differences, "; ")),
		Next: "unset these variables to keep the stream (nats stream edit changes its size, and the replicas of one that is published as batch); only relayctl flow delete and a fresh copy change the others",
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}

	return "off"
}

// create makes a flow that does not exist.
func (i *initialisation) create(ctx context.Context) (*Made, error) {
	if err := i.checkTarget(ctx); err != nil {
		return nil, err
	}

	definitions, err := i.newDefiner(ctx)
	if err != nil {
		return nil, err
	}

	settings, notes, err := i.askSource(ctx)
	if err != nil {
		return nil, err
	}

	var stream *topology.Stream

	err = i.recorded(ctx, fmt.Sprintf("stream %s with %d partitions, from %s", topology.StreamName(i.Flow), i.Partitions, settings.Source), func() error {
		more, err := definitions.define(ctx)
		if err != nil {
			return err
		}

		notes = append(notes, more...)
		stream, err = i.createStream(ctx, settings)

		return err
	})
	if err != nil {
		return nil, err
	}

	return i.made(stream, true, notes), nil
}

func (i *initialisation) createStream(ctx context.Context, settings topology.Settings) (*topology.Stream, error) {
	maxBytes := int64(i.MaxBytes)
	if maxBytes == 0 {
		var err error
		if maxBytes, err = topology.DefaultMaxBytes(ctx, i.js, i.Replicas); err != nil {
			return nil, err
		}
	}

	stream, err := topology.Create(ctx, i.js, i.Flow, settings, maxBytes)
	if err != nil {
		return nil, createTrouble(err)
	}

	return stream, i.publishFirst(ctx, stream)
}

// recorded acts between two records in the audit of the target.
func (i *initialisation) recorded(ctx context.Context, selection string, act func() error) error {
	target, _, err := connectMongo(ctx, "TARGET_URI", i.TargetURI, false)
	if err != nil {
		return err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	return audited(ctx, target, i.TargetURI, &audit.Action{Flow: i.Flow, Action: "flow init", Selection: selection}, i.by, func() (int, error) {
		if err := act(); err != nil {
			return 0, err
		}

		return 1, nil
	})
}

// finish goes on after a crash between the stream and its message 1. The source
// was checked before the stream was made, and the token of that moment covers
// everything since.
func (i *initialisation) finish(ctx context.Context, stream *topology.Stream) (*Made, error) {
	if err := i.checkTarget(ctx); err != nil {
		return nil, err
	}

	err := i.recorded(ctx, "message 1 of stream "+stream.Name(), func() error { return i.publishFirst(ctx, stream) })
	if err != nil {
		return nil, err
	}

	return i.made(stream, true, nil), nil
}

func (i *initialisation) checkTarget(ctx context.Context) error {
	target, _, err := connectMongo(ctx, "TARGET_URI", i.TargetURI, false)
	if err != nil {
		return err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	checkpoints, err := checkpoint.Load(ctx, target, i.Flow)
	if err != nil {
		return mongoTrouble("TARGET_URI", i.TargetURI, err)
	}

	if len(checkpoints) == 0 {
		return nil
	}

	return &RefusedError{
		What: fmt.Sprintf("the target holds checkpoints of flow %s, but its stream is gone or empty: a new one would leave a gap", i.Flow),
		Next: "restore the stream; or record the gap and go on with relayctl flow accept-gap; or give the flow up with relayctl flow delete --yes, copy the data afresh and run relayctl flow init again",
	}
}

// askSource takes the token before it looks for documents: one that is written
// in between is either found or captured.
func (i *initialisation) askSource(ctx context.Context) (s topology.Settings, notes []string, err error) {
	source, hello, err := connectMongo(ctx, "SOURCE_URI", i.SourceURI, true)
	if err != nil {
		return s, nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, source) }() // the server ends what is left by itself

	if err := refuseSource(hello, i.SkipOrigins); err != nil {
		return s, nil, err
	}

	token, err := presentToken(ctx, source)
	if err != nil {
		return s, nil, mongoTrouble("SOURCE_URI", i.SourceURI, err)
	}

	filter, err := i.filter()
	if err != nil {
		return s, nil, err
	}

	found, err := readScope(ctx, source, filter, i.ReplicatesSchema())
	if err != nil {
		return s, nil, mongoTrouble("SOURCE_URI", i.SourceURI, err)
	}

	if len(found.unroutable) > 0 {
		return s, nil, &RefusedError{
			What: "collections that cannot be replicated without schema changes: " + some(found.unroutable),
			Next: "leave them out with EXCLUDE_NAMESPACES, or unset DDL",
		}
	}

	existing, err := found.existing(ctx, source)
	if err != nil {
		return s, nil, mongoTrouble("SOURCE_URI", i.SourceURI, err)
	}

	if len(existing) > 0 && !i.WithoutExisting {
		return s, nil, refuseExisting(existing)
	}

	if len(existing) > 0 {
		notes = append(notes, "existing documents are not replicated, copy them before writes go on: "+some(existing))
	}

	if len(found.notReplicated) > 0 {
		notes = append(notes, "not replicated: "+some(found.notReplicated))
	}

	return topology.Settings{
		StreamID:    topology.NewStreamID(),
		Partitions:  i.Partitions,
		DDL:         i.ReplicatesSchema(),
		SkipOrigins: i.SkipOrigins,
		Source:      hello.Identity(),
		FirstToken:  base64.StdEncoding.EncodeToString(token),
		Publish:     i.publishMode(),
		Replicas:    i.Replicas,
	}, notes, nil
}

// errNotFirst says that the stream had got a message meanwhile.
var errNotFirst = errors.New("the stream has a message already")

// publishFirst publishes the marker that everything begins after.
func (i *initialisation) publishFirst(ctx context.Context, stream *topology.Stream) error {
	token, err := base64.StdEncoding.DecodeString(stream.FirstToken)
	if err != nil || event.CheckDocument(token) != nil {
		return &RefusedError{What: "stream " + stream.Name() + " has no usable first token in its metadata", Next: "relayctl flow delete --yes, then flow init"}
	}

	marker := &relayv1.Marker{
		Heads:  make([]uint64, stream.Partitions),
		Filter: &relayv1.Filter{Include: i.Include.Patterns(), Exclude: i.Exclude.Patterns(), SkipOrigins: stream.SkipOrigins},
	}
	if err := i.pin(ctx, stream, marker); err != nil {
		return err
	}

	payload, err := proto.Marshal(marker)
	if err != nil {
		return fmt.Errorf("encode message 1: %w", err)
	}

	err = stream.PublishFirst(ctx, i.js, &event.Message{
		Kind:        event.KindMarker,
		StreamID:    stream.StreamID,
		ResumeToken: token,
		Part:        1,
		Parts:       1,
		Size:        len(payload),
		Attempt:     1,
		Payload:     payload,
	})

	if errors.Is(err, topology.ErrNotLast) {
		return fmt.Errorf("%w: %w", errNotFirst, err)
	}

	return err
}

// pin writes the routing table that the stream begins with into the marker. What happens
// to the schema between the first token and the catalog of now comes again as events,
// which the table bears (package routing).
func (i *initialisation) pin(ctx context.Context, stream *topology.Stream, marker *relayv1.Marker) error {
	if !stream.DDL {
		return nil
	}

	source, _, err := connectMongo(ctx, "SOURCE_URI", i.SourceURI, true)
	if err != nil {
		return err
	}

	defer func() { _ = mongodb.Disconnect(ctx, source) }() // the server ends what is left by itself

	table, err := readTable(ctx, source, stream.Partitions)
	if err != nil {
		return mongoTrouble("SOURCE_URI", i.SourceURI, err)
	}

	table.Encode(marker)

	return nil
}
