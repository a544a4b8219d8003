package lease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// The headers by which a KV bucket and its server tell what a message is; nats.go
// exports only some of them.
const (
	headerOperation = "KV-Operation"
	operationPurge  = "PURGE"
	headerTTL       = "Nats-TTL"
)

// markerTTL is how long the mark of a released key stays, for watchers that are
// behind. Without it every instance that ever ran would leave one for good.
const markerTTL = time.Hour

// errChanged says that a key's revision is not the expected one.
var errChanged = errors.New("the key has another revision")

// JetStream is what a bucket needs of a JetStream context.
type JetStream interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
	Stream(ctx context.Context, stream string) (jetstream.Stream, error)
}

// Bucket is a KV bucket whose keys may have a TTL each (LimitMarkerTTL). It is
// written with plain publishes, because the client's Update drops a key's TTL
// without a word.
type Bucket struct {
	js   JetStream
	name string

	mu   sync.Mutex
	seen map[string]sighting // of leases that others hold, by key
}

// sighting is when a revision of a key was seen first, by the monotonic clock.
type sighting struct {
	revision uint64
	at       time.Time
}

// NewBucket returns the bucket of this name. It asks nobody.
func NewBucket(js JetStream, name string) *Bucket {
	return &Bucket{js: js, name: name, seen: map[string]sighting{}}
}

// Acquire makes the key, with the holder's value, if nobody holds it: a key that
// is not there, expired, or was deleted. One without a TTL is nobody's lease but
// was written by hand, and is overwritten; one with this very value is an
// acquisition of ours whose reply was lost. So a value must name one process.
// One that was not renewed for twice its TTL, since this process saw it first, is
// overwritten too: its holder takes it for expired since long, and the server's
// clock has gone back, so that it would keep it for as long.
// Errors: *HeldError, else trouble of the server.
func (b *Bucket) Acquire(ctx context.Context, key, value string, ttl time.Duration) (*Lease, error) {
	sent := time.Now()

	revision, err := b.put(ctx, key, value, ttl, 0)
	if errors.Is(err, errChanged) {
		var held stored
		if held, err = b.read(ctx, key); err != nil {
			return nil, fmt.Errorf("acquire lease %s: %w", key, err)
		}

		if held.isLease && held.value != value && !b.overdue(key, &held) {
			return nil, &HeldError{Key: key, Value: held.value}
		}

		sent = time.Now()
		revision, err = b.put(ctx, key, value, ttl, held.revision)
	}

	if errors.Is(err, errChanged) {
		return nil, &HeldError{Key: key, Value: "somebody who came first"}
	}

	if err == nil {
		err = failpoint.Error(failpoint.LeaseTaken)
	}

	if err != nil {
		return nil, fmt.Errorf("acquire lease %s: %w", key, err)
	}

	return newLease(b, key, value, ttl, revision, sent), nil
}

// overdueAfter is how many TTLs a lease may stay without a renewal before nobody
// waits for the server any more, which drops it after one and a second.
const overdueAfter = 2

// overdue tells whether somebody else's lease was seen at this revision for too
// long.
func (b *Bucket) overdue(key string, held *stored) bool {
	b.mu.Lock()
	defer b.mu.Unlock()

	now := time.Now()
	if b.seen[key].revision != held.revision {
		b.seen[key] = sighting{held.revision, now}
	}

	return now.Sub(b.seen[key].at) > overdueAfter*held.ttl+time.Second
}

// stored is the last message of a key.
type stored struct {
	revision uint64 // 0: the key never was
	value    string
	isLease  bool // present, with a TTL
	ttl      time.Duration
}

func (b *Bucket) read(ctx context.Context, key string) (stored, error) {
	stream, err := b.js.Stream(ctx, "KV_"+b.name)
	if err != nil {
		return stored{}, fmt.Errorf("open bucket %s: %w", b.name, err)
	}

	raw, err := stream.GetLastMsgForSubject(ctx, b.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return stored{}, nil
	}

	if err != nil {
		return stored{}, fmt.Errorf("read key %s of bucket %s: %w", key, b.name, err)
	}

	marker := raw.Header.Get(headerOperation) != "" || raw.Header.Get(jetstream.MarkerReasonHeader) != ""

	ttl := raw.Header.Get(headerTTL)
	held := stored{revision: raw.Sequence, value: string(raw.Data), isLease: !marker && ttl != ""}

	// One that cannot be read is left to the server.
	if held.ttl, err = time.ParseDuration(ttl); err != nil {
		held.ttl = math.MaxInt64 / (2 * overdueAfter)
	}

	return held, nil
}

// put writes the key if its last revision is the expected one, 0 for none.
func (b *Bucket) put(ctx context.Context, key, value string, ttl time.Duration, expected uint64) (uint64, error) {
	// The server cuts a TTL to whole seconds; the holder must not believe in more
	// than it gets.
	whole := (ttl + time.Second - 1).Truncate(time.Second)

	return b.publish(ctx, &nats.Msg{Subject: b.subject(key), Header: nats.Header{}, Data: []byte(value)}, whole, expected)
}

func (b *Bucket) remove(ctx context.Context, key string, expected uint64) error {
	header := nats.Header{}
	header.Set(headerOperation, operationPurge)
	header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)

	_, err := b.publish(ctx, &nats.Msg{Subject: b.subject(key), Header: header}, markerTTL, expected)

	return err
}

func (b *Bucket) publish(ctx context.Context, msg *nats.Msg, ttl time.Duration, expected uint64) (uint64, error) {
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(ttl), jetstream.WithExpectLastSequencePerSubject(expected), jetstream.WithRetryAttempts(0))
	if err == nil {
		return ack.Sequence, nil
	}

	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return 0, fmt.Errorf("%w: %w", errChanged, err)
	}

	return 0, fmt.Errorf("write bucket %s: %w", b.name, err)
}

func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }
