package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// Watch opens a change stream behind a token; nil: now.
type Watch func(ctx context.Context, after bson.Raw) (*mongo.ChangeStream, error)

// WatchDeployment is the change stream of a whole deployment, as a listener opens it: only then the events of one cluster
// time are counted alike.
func WatchDeployment(client *mongo.Client) Watch {
	return func(ctx context.Context, after bson.Raw) (*mongo.ChangeStream, error) {
		o := options.ChangeStream().SetMaxAwaitTime(time.Second)
		if after != nil {
			o.SetResumeAfter(after)
		}

		return mongodb.Watch(ctx, client, o)
	}
}

// WatchDatabase is the change stream of one database.
func WatchDatabase(db *mongo.Database) Watch {
	return func(ctx context.Context, after bson.Raw) (*mongo.ChangeStream, error) {
		o := options.ChangeStream().SetMaxAwaitTime(time.Second)
		if after != nil {
			o.SetResumeAfter(after)
		}

		return db.Watch(ctx, mongo.Pipeline{}, o)
	}
}

// Feed is a change stream that is read to the end, whatever happens to its server.
type Feed struct {
	watch Watch
	token bson.Raw // resume after this event
}

// NewFeed remembers where the change stream is now, so that nothing that happens from now on is missed.
func NewFeed(ctx context.Context, watch Watch) (*Feed, error) {
	stream, err := watch(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}

	f := &Feed{watch: watch, token: slices.Clone(stream.ResumeToken())}

	return f, stream.Close(ctx)
}

// Run tells every event, once and in order, until told says that it was the last. A server that is away is waited for. The
// event is only good until told returns; its error ends Run.
func (f *Feed) Run(ctx context.Context, told func(event bson.Raw, at time.Time) (last bool, err error)) error {
	return retry.Do(ctx, retry.Policy{Initial: 20 * time.Millisecond, Max: time.Second}, func(ctx context.Context) error {
		err := f.read(ctx, told)
		if err != nil && !mongodb.IsResumableChangeStreamError(err) {
			return retry.Permanent(err)
		}

		return err
	})
}

func (f *Feed) read(ctx context.Context, told func(bson.Raw, time.Time) (bool, error)) error {
	stream, err := f.watch(ctx, f.token)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer func() { _ = stream.Close(context.WithoutCancel(ctx)) }()

	stream.SetBatchSize(batchSize)

	for stream.Next(ctx) {
		last, err := told(stream.Current, time.Now())
		if last || err != nil {
			return err
		}

		f.token = append(f.token[:0:0], stream.ResumeToken()...)
	}

	if err := stream.Err(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}

	return errors.New("the change stream ended")
}

const batchSize = 1000

// side is one deployment that is recorded.
type side struct {
	client *mongo.Client
	feed   *Feed
	file   *history.Writer[history.Change]
	end    string // _id of the document that ends the recording
}

func newSide(ctx context.Context, client *mongo.Client, folder, name string) (*side, error) {
	feed, err := NewFeed(ctx, WatchDeployment(client))
	if err != nil {
		return nil, err
	}

	file, err := history.Create[history.Change](folder, name)
	if err != nil {
		return nil, err
	}

	return &side{client: client, feed: feed, file: file, end: bson.NewObjectID().Hex()}, nil
}

// run records until it meets what finish writes.
func (s *side) run(ctx context.Context) error {
	return s.feed.Run(ctx, func(event bson.Raw, at time.Time) (bool, error) {
		if db, _ := event.Lookup("ns", "db").StringValueOK(); db == history.SentinelDatabase {
			id, _ := event.Lookup("documentKey", "_id").StringValueOK()
			if id == s.end {
				return true, nil
			}
		}

		return false, s.file.Add(history.Change{Time: at, Event: event})
	})
}

// finish makes run end once it has recorded everything that was written so far.
func (s *side) finish(ctx context.Context) error {
	_, err := s.client.Database(history.SentinelDatabase).Collection("ends").InsertOne(ctx, bson.D{{Key: "_id", Value: s.end}})
	if err != nil {
		return fmt.Errorf("end a recording: %w", err)
	}

	return nil
}
