package natsmodel

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// keys is a bucket as a client knows it.
type keys struct {
	jetstream.KeyValue // what the relay does not call

	client *Client
	bucket *Bucket
	name   string
}

// Watch returns what there is, and then nothing more.
func (k *keys) Watch(ctx context.Context, filter string, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	var list []jetstream.KeyValueEntry

	prefix := strings.TrimSuffix(strings.TrimSuffix(filter, "*"), ">")
	err := k.client.network.Call(ctx, func() {
		k.bucket.Each(k.client.server.now(), func(key string, _ []byte) {
			if strings.HasPrefix(key, prefix) {
				list = append(list, &value{entry: *k.bucket.keys[key], key: key})
			}
		})
	})
	if err != nil {
		return nil, err
	}

	w := watcher{updates: make(chan jetstream.KeyValueEntry, len(list)+1)}
	for _, e := range list {
		w.updates <- e
	}
	w.updates <- nil

	return w, nil
}

type watcher struct{ updates chan jetstream.KeyValueEntry }

func (w watcher) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

func (watcher) Stop() error { return nil }

type value struct {
	jetstream.KeyValueEntry // what the relay does not call

	entry entry
	key   string
}

func (v *value) Key() string { return v.key }

func (v *value) Value() []byte { return v.entry.value }

func (v *value) Revision() uint64 { return v.entry.revision }

func (v *value) Created() time.Time { return v.entry.at }

// Put sets a key as the holder of a lease does: by a publish that names the last
// revision, with a TTL. Errors: jetstream.ErrKeyExists, else those of the network.
func (c *Client) Put(ctx context.Context, bucket, key string, value []byte, expected uint64, ttl time.Duration) (revision uint64, err error) {
	missing := errors.New("no bucket " + bucket)
	answer := missing

	err = c.network.Call(ctx, func() {
		if b := c.server.buckets[bucket]; b != nil {
			revision, answer = b.Put(c.server.now(), key, value, expected, ttl)
		}
	})
	if err != nil {
		return 0, err
	}

	return revision, answer
}

// Set sets a key whatever it is.
func (c *Client) Set(ctx context.Context, bucket, key string, value []byte) error {
	return c.network.Call(ctx, func() {
		if b := c.server.buckets[bucket]; b != nil {
			b.Set(c.server.now(), key, value)
		}
	})
}

// Delete gives a key back. Errors as of Put.
func (c *Client) Delete(ctx context.Context, bucket, key string, expected uint64) error {
	var answer error

	err := c.network.Call(ctx, func() {
		if b := c.server.buckets[bucket]; b != nil {
			answer = b.Delete(c.server.now(), key, expected)
		}
	})
	if err != nil {
		return err
	}

	return answer
}

// All visits the keys of a bucket in order.
func (c *Client) All(ctx context.Context, bucket string, visit func(key string, value []byte)) error {
	return c.network.Call(ctx, func() {
		if b := c.server.buckets[bucket]; b != nil {
			b.Each(c.server.now(), visit)
		}
	})
}
