package flow

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// start says where a change stream begins.
type start func(*options.ChangeStreamOptionsBuilder)

func after(token bson.Raw) start {
	return func(o *options.ChangeStreamOptionsBuilder) { o.SetResumeAfter(token) }
}

func at(t bson.Timestamp) start {
	return func(o *options.ChangeStreamOptionsBuilder) { o.SetStartAtOperationTime(&t) }
}

// edge returns where the source is to be read on, having read there: behind the
// position from, which is that of what.
func (a *acceptance) edge(ctx context.Context, from event.Position, what string) (gap.Edge, error) {
	edge, err := a.parseAt(ctx)
	if err != nil {
		return gap.Edge{}, err
	}

	if edge.Position.IsZero() { // a token that does not say
		edge.Position = from
	}

	if edge.Position.Compare(from) < 0 {
		return gap.Edge{}, &RefusedError{
			What: fmt.Sprintf("--at %s is position %s, before %s at %s: changes that were applied would come again",
				a.At, edge.Position, what, from),
			Next: "name a later time, or --at now",
		}
	}

	// What was found must be good for the listener: it resumes after the token.
	if _, err := probe(ctx, a.source, after(edge.ResumeToken)); err != nil {
		return gap.Edge{}, a.unreadable(err)
	}

	return edge, nil
}

func (a *acceptance) unreadable(err error) error {
	if isHistoryLost(err) {
		return &RefusedError{
			What: fmt.Sprintf("the source cannot be read from --at %s on", a.At), Err: err,
			Next: "name a later time, or --at now",
		}
	}

	return mongoTrouble("SOURCE_URI", a.SourceURI, err)
}

// reached is how far the source was read: the position of the last event, or the
// time of the token where that is later, as in message 1 and in an idle flow.
func reached(tail *topology.Stored) event.Position {
	if p := positionOf(tail.ResumeToken); p.Compare(tail.Position) > 0 {
		return p
	}

	return tail.Position
}

// parseAt understands "now", which is meant where nothing is said, a time in RFC 3339, and a resume token: its _data
// in hexadecimal, or the whole document in base64 as flow show prints it.
func (a *acceptance) parseAt(ctx context.Context) (gap.Edge, error) {
	if a.At == "" || a.At == "now" {
		return a.now(ctx)
	}

	if t, err := time.Parse(time.RFC3339, a.At); err == nil {
		return a.time(ctx, t)
	}

	token, ok := parseToken(a.At)
	if !ok {
		return gap.Edge{}, &RefusedError{
			What: fmt.Sprintf("--at %q is neither now, nor a time, nor a resume token", a.At),
			Next: "for example --at now, --at 2026-01-31T08:30:00Z, or the resume token that relayctl flow show prints",
		}
	}

	return gap.Edge{Position: positionOf(token), ResumeToken: token}, nil
}

// now takes the cluster time before the token: every event behind the token is
// then behind the position too.
func (a *acceptance) now(ctx context.Context) (gap.Edge, error) {
	position, err := clusterTime(ctx, a.source)
	if err != nil {
		return gap.Edge{}, mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}

	token, err := presentToken(ctx, a.source)
	if err != nil {
		return gap.Edge{}, mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}

	return gap.Edge{Position: position, ResumeToken: token}, nil
}

// time begins at the first operation of that second.
func (a *acceptance) time(ctx context.Context, t time.Time) (gap.Edge, error) {
	seconds := t.Unix()
	if seconds <= 0 || t.After(time.Now()) {
		return gap.Edge{}, &RefusedError{What: fmt.Sprintf("--at %s lies in the future or before 1970", a.At), Next: "--at now"}
	}

	from := bson.Timestamp{T: uint32(seconds), I: 1} //nolint:gosec // MongoDB's own range

	token, err := probe(ctx, a.source, at(from))
	if err != nil {
		return gap.Edge{}, a.unreadable(err)
	}

	return gap.Edge{Position: event.Position{T: from.T}, ResumeToken: token}, nil
}

// clusterTime returns the source's present one as a position.
func clusterTime(ctx context.Context, source *mongo.Client) (event.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	var reply struct {
		OperationTime bson.Timestamp `bson:"operationTime"`
	}

	if err := source.Database("admin").RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}).Decode(&reply); err != nil {
		return event.Position{}, fmt.Errorf("ask for the cluster time: %w", err)
	}

	if reply.OperationTime.T == 0 {
		return event.Position{}, errors.New("the source tells no operationTime")
	}

	return event.Position{T: reply.OperationTime.T, I: reply.OperationTime.I}, nil
}

// probe opens the listener's change stream and reads once. It returns the token
// of the beginning, before anything was read.
func probe(ctx context.Context, source *mongo.Client, from start) (bson.Raw, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	o := options.ChangeStream().SetMaxAwaitTime(100 * time.Millisecond)
	from(o)

	cursor, err := mongodb.Watch(ctx, source, o)
	if err != nil {
		return nil, err
	}

	defer func() { _ = cursor.Close(ctx) }() // the server drops it by itself

	token := append(bson.Raw(nil), cursor.ResumeToken()...)

	cursor.SetBatchSize(1)
	cursor.TryNext(ctx)

	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("read change stream: %w", err)
	}

	if len(token) == 0 {
		return nil, errors.New("the source gave no resume token with an empty batch; MongoDB 4.0.7 or later is needed")
	}

	return token, nil
}

func parseToken(text string) (bson.Raw, bool) {
	if _, err := hex.DecodeString(text); err == nil && text != "" {
		token, err := bson.Marshal(bson.D{{Key: "_data", Value: strings.ToUpper(text)}})

		return token, err == nil
	}

	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || event.CheckDocument(raw) != nil {
		return nil, false
	}

	return raw, len(raw) > len(bson.Raw{5, 0, 0, 0, 0})
}

// positionOf is how far a token of mongod has read; zero for another server's. An event
// of just the token's cluster time may follow it, so the position is the one before.
func positionOf(token bson.Raw) event.Position {
	at, known := mongodb.TokenTime(token)
	if !known {
		return event.Position{}
	}

	return event.Position{T: at.T, I: max(at.I, 1) - 1}
}
