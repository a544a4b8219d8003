package topology

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
)

// Byte limits of a stream whose operator gave none.
const (
	storeShare      = 0.8      // of the store that is free
	defaultMaxBytes = 10 << 30 // where the account states no limit
)

// DefaultMaxBytes returns the byte limit of a new stream: 80 % of the free
// store, which all replicas take from, or 10 GiB where the account states no
// limit.
func DefaultMaxBytes(ctx context.Context, js jetstream.JetStream, replicas int) (int64, error) {
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

	return int64(float64(limit-int64(taken))*storeShare) / int64(max(replicas, 1)), nil
}

// Create makes the buckets, if missing, and the flow's stream. Only relayctl
// calls it. It returns jetstream.ErrStreamNameAlreadyInUse if the stream exists
// with another configuration, and ErrChainOfReplicas.
func Create(ctx context.Context, js jetstream.JetStream, flow string, settings Settings, maxBytes int64) (*Stream, error) {
	settings = settings.withDefaults()
	config := StreamConfig(flow, settings, maxBytes)

	if err := settings.checkPublishing(config); err != nil {
		return nil, fmt.Errorf("create stream %s: %w", StreamName(flow), err)
	}

	if err := CreateBuckets(ctx, js, settings.Replicas); err != nil {
		return nil, err
	}

	handle, err := js.CreateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", StreamName(flow), err)
	}

	return &Stream{Settings: settings, flow: flow, js: handle}, nil
}

// CreateBuckets makes the buckets that are missing, with as many replicas as
// the flow's stream. What they hold is renewed by the services, so one that was
// lost is simply made again. All flows share them: one that exists gets more
// replicas if it has fewer, never less.
func CreateBuckets(ctx context.Context, js jetstream.KeyValueManager, replicas int) error {
	for _, bucket := range []jetstream.KeyValueConfig{OwnersConfig(), StatsConfig()} {
		bucket.Replicas = max(replicas, 1)

		if err := createBucket(ctx, js, bucket); err != nil {
			return err
		}
	}

	return nil
}

func createBucket(ctx context.Context, js jetstream.KeyValueManager, config jetstream.KeyValueConfig) error {
	bucket, err := js.KeyValue(ctx, config.Bucket)

	switch {
	case err == nil:
		return growBucket(ctx, js, bucket, config.Replicas)
	case !errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("open bucket %s: %w", config.Bucket, err)
	}

	if _, err := js.CreateKeyValue(ctx, config); err != nil {
		return fmt.Errorf("create bucket %s: %w", config.Bucket, err)
	}

	return nil
}

func growBucket(ctx context.Context, js jetstream.KeyValueManager, bucket jetstream.KeyValue, replicas int) error {
	status, err := bucket.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask bucket %s: %w", bucket.Bucket(), err)
	}

	live := status.Config()
	if live.Replicas >= replicas {
		return nil
	}

	live.Replicas = replicas
	if _, err := js.UpdateKeyValue(ctx, live); err != nil {
		return fmt.Errorf("raise the replicas of bucket %s to %d: %w", bucket.Bucket(), replicas, err)
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

	var deleted []string

	// One filter at a time: only a lone one stands in the subject of the request, where the server's permissions see it.
	for _, filter := range filters {
		lister, err := kv.ListKeysFiltered(ctx, filter)
		if err != nil {
			return deleted, fmt.Errorf("list keys of bucket %s: %w", bucket, err)
		}

		for key := range lister.Keys() {
			if err := kv.Purge(ctx, key); err != nil {
				return deleted, fmt.Errorf("purge key %s of bucket %s: %w", key, bucket, err)
			}

			deleted = append(deleted, "key "+bucket+" "+key)
		}
	}

	return deleted, nil
}
