package topology

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Byte limits of a stream whose operator gave none.
const (
	storeShare      = 0.8      // of the store that is free
	defaultMaxBytes = 10 << 30 // where the account states no limit
)

// DefaultMaxBytes returns the byte limit of a new stream: 80 % of the free
// store, or 10 GiB where the account states no limit.
func DefaultMaxBytes(ctx context.Context, js jetstream.JetStream) (int64, error) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask JetStream for its limits: %w", err)
	}

	limit := account.Limits.MaxStore
	if limit <= 0 {
		return defaultMaxBytes, nil
	}

	// ReservedStore counts the limits of existing streams, used or not.
	taken := max(account.Store, account.ReservedStore)
	if taken >= math.MaxInt64 || limit <= int64(taken) {
		return 0, fmt.Errorf("no store left for the stream: limit %d bytes, taken %d bytes; raise max_file_store or delete streams", limit, taken)
	}

	return int64(float64(limit-int64(taken)) * storeShare), nil
}

// Create makes the buckets, if missing, and the flow's stream. Only relayctl
// calls it. It returns jetstream.ErrStreamNameAlreadyInUse if the stream exists
// with another configuration.
func Create(ctx context.Context, js jetstream.JetStream, flow string, settings Settings, maxBytes int64) (*Stream, error) {
	if err := CreateBuckets(ctx, js); err != nil {
		return nil, err
	}

	handle, err := js.CreateStream(ctx, StreamConfig(flow, settings, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", StreamName(flow), err)
	}

	return &Stream{Settings: settings, flow: flow, js: handle}, nil
}

// CreateBuckets makes the buckets that are missing. What they hold is renewed by
// the services, so one that was lost is simply made again.
func CreateBuckets(ctx context.Context, js jetstream.KeyValueManager) error {
	for _, bucket := range []jetstream.KeyValueConfig{OwnersConfig(), StatsConfig()} {
		if err := createBucket(ctx, js, bucket); err != nil {
			return err
		}
	}

	return nil
}

func createBucket(ctx context.Context, js jetstream.KeyValueManager, config jetstream.KeyValueConfig) error {
	// A bucket is shared by all flows: whoever comes second finds it.
	if _, err := js.KeyValue(ctx, config.Bucket); err == nil {
		return nil
	} else if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("open bucket %s: %w", config.Bucket, err)
	}

	if _, err := js.CreateKeyValue(ctx, config); err != nil {
		return fmt.Errorf("create bucket %s: %w", config.Bucket, err)
	}

	return nil
}

// Publisher is the one call of a JetStream context that message 1 needs.
type Publisher interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

// PublishFirst publishes message 1 of an empty stream: a marker. It fails if
// the stream has ever had a message.
func (s *Stream) PublishFirst(ctx context.Context, js Publisher, m *event.Message) error {
	msg := event.Encode(s.flow, m, "")

	if _, err := js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(0)); err != nil {
		return fmt.Errorf("publish message 1 of stream %s: %w", s.Name(), err)
	}

	return nil
}

// Delete deletes the flow's stream and its keys in both buckets, and returns
// what it deleted, for the operator. What is already gone is no error.
func Delete(ctx context.Context, js jetstream.JetStream, flow string) ([]string, error) {
	var deleted []string

	name := StreamName(flow)
	switch err := js.DeleteStream(ctx, name); {
	case err == nil:
		deleted = append(deleted, "stream "+name)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return deleted, fmt.Errorf("delete stream %s: %w", name, err)
	}

	for bucket, filters := range map[string][]string{
		OwnersBucket: {LeaderKey(flow), "m." + flow + ".>", "p." + flow + ".>"},
		StatsBucket:  {"l." + flow + ".>", "p." + flow + ".>"},
	} {
		keys, err := purgeKeys(ctx, js, bucket, filters)

		deleted = append(deleted, keys...)
		if err != nil {
			return deleted, err
		}
	}

	return deleted, nil
}

func purgeKeys(ctx context.Context, js jetstream.KeyValueManager, bucket string, filters []string) ([]string, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}

	lister, err := kv.ListKeysFiltered(ctx, filters...)
	if err != nil {
		return nil, fmt.Errorf("list keys of bucket %s: %w", bucket, err)
	}

	var deleted []string

	for key := range lister.Keys() {
		if err := kv.Purge(ctx, key); err != nil {
			return deleted, fmt.Errorf("purge key %s of bucket %s: %w", key, bucket, err)
		}

		deleted = append(deleted, "key "+bucket+" "+key)
	}

	return deleted, nil
}
