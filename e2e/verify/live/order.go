package live

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// sentinels is the prefix of the collection that marks the end of a recording.
const sentinels = "relay_sentinel_"

// EndEvents is how many events Finish makes: a collection made, a document in it, the collection dropped. A flow that does
// not take that collection counts them as skipped.
const EndEvents = 3

// Order records the change stream of the target and checks that the version of every document only grows.
type Order struct {
	db       *mongo.Database
	told     func(key traffic.Key, version int64, deleted bool, at time.Time)
	sentinel string
	feed     *record.Feed

	mu         sync.Mutex
	versions   map[traffic.Key]int64
	events     int
	violations []string
}

// NewOrder opens the change stream, so that nothing that happens from now on is missed. told, which may be nil, hears of
// every change of a document.
func NewOrder(ctx context.Context, target *mongo.Database, told func(traffic.Key, int64, bool, time.Time)) (*Order, error) {
	o := &Order{
		db: target, told: told,
		sentinel: sentinels + bson.NewObjectID().Hex(),
		versions: map[traffic.Key]int64{},
	}

	var err error
	if o.feed, err = record.NewFeed(ctx, record.WatchDatabase(target)); err != nil {
		return nil, fmt.Errorf("watch the target: %w", err)
	}

	return o, nil
}

// Run records until it meets the sentinel that Finish writes. A target that is away is waited for.
func (o *Order) Run(ctx context.Context) error {
	return o.feed.Run(ctx, func(event bson.Raw, at time.Time) (bool, error) { return o.take(event, at), nil })
}

// take checks one event; the sentinel says true.
func (o *Order) take(raw bson.Raw, at time.Time) bool {
	var event struct {
		Operation string `bson:"operationType"`
		Namespace struct {
			DB         string `bson:"db"`
			Collection string `bson:"coll"`
		} `bson:"ns"`
		Key struct {
			ID bson.RawValue `bson:"_id"`
		} `bson:"documentKey"`
		Document struct {
			Version int64 `bson:"v"`
		} `bson:"fullDocument"`
		Update struct {
			Fields struct {
				Version int64 `bson:"v"`
			} `bson:"updatedFields"`
		} `bson:"updateDescription"`
	}

	if err := bson.Unmarshal(raw, &event); err != nil {
		o.violated("an event of the target cannot be read: %v", err)

		return false
	}

	version := event.Document.Version

	switch event.Operation {
	case "insert", "replace", "delete":
	case "update":
		version = event.Update.Fields.Version
	default:
		return false
	}

	if strings.HasPrefix(event.Namespace.Collection, sentinels) {
		return event.Namespace.Collection == o.sentinel
	}

	key := traffic.KeyOf(event.Namespace.DB+"."+event.Namespace.Collection, event.Key.ID)
	deleted := event.Operation == "delete"

	o.check(event.Operation, key, version, deleted)

	if o.told != nil {
		o.told(key, version, deleted, at)
	}

	return false
}

func (o *Order) check(operation string, key traffic.Key, version int64, deleted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.events++

	if deleted {
		return
	}

	if err := verify.Grows(o.versions[key], version); err != nil {
		o.violate("%s of %q brought %v", operation, key, err)
	}

	o.versions[key] = version
}

func (o *Order) violated(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.violate(format, args...)
}

// violate keeps a finding; the caller holds the lock.
func (o *Order) violate(format string, args ...any) {
	if len(o.violations) <= mostDifferences {
		o.violations = append(o.violations, fmt.Sprintf(format, args...))
	}
}

// Finish makes Run end once it has seen everything that was written to the target so far.
func (o *Order) Finish(ctx context.Context) error {
	coll := o.db.Collection(o.sentinel)

	// Making it by the way is no event on every stand-in.
	if err := o.db.CreateCollection(ctx, o.sentinel); err != nil {
		return fmt.Errorf("end the recording of the target: %w", err)
	}

	if _, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); err != nil {
		return fmt.Errorf("end the recording of the target: %w", err)
	}

	if err := coll.Drop(ctx); err != nil {
		return fmt.Errorf("remove the end of the recording: %w", err)
	}

	return nil
}

// Verdict is nil when every version grew; events is how many were looked at.
func (o *Order) Verdict() (events int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if len(o.violations) > 0 {
		return o.events, fmt.Errorf("the order of writes on the target is wrong:\n%s", strings.Join(o.violations, "\n"))
	}

	return o.events, nil
}
