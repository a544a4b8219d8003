package natsmodel

import (
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a KV bucket whose keys may have a TTL. Revisions are those of the whole
// bucket: they only grow.
type Bucket struct {
	keys     map[string]*entry
	revision uint64
	changed  func(key string, value []byte) // nil value: the key is gone
}

type entry struct {
	value    []byte
	revision uint64
	at       time.Time
	expires  time.Time // zero: never
}

func newBucket() *Bucket {
	return &Bucket{keys: map[string]*entry{}, changed: func(string, []byte) {}}
}

// OnChange sets what is told every change.
func (b *Bucket) OnChange(changed func(key string, value []byte)) { b.changed = changed }

// Expire lets keys go whose time is over, and returns when the next one is.
func (b *Bucket) Expire(now time.Time) (next time.Time) {
	for _, key := range slices.Sorted(maps.Keys(b.keys)) {
		e := b.keys[key]

		switch {
		case e.expires.IsZero():
		case !now.Before(e.expires):
			b.revision++ // the server writes a marker
			delete(b.keys, key)
			b.changed(key, nil)
		case next.IsZero() || e.expires.Before(next):
			next = e.expires
		}
	}

	return next
}

// Put sets a key if its revision is the expected one, 0: there is none. ttl 0: it stays.
// Errors: jetstream.ErrKeyExists.
func (b *Bucket) Put(now time.Time, key string, value []byte, expected uint64, ttl time.Duration) (uint64, error) {
	b.Expire(now)

	present := uint64(0)
	if e := b.keys[key]; e != nil {
		present = e.revision
	}

	if present != expected {
		return 0, jetstream.ErrKeyExists
	}

	return b.set(now, key, value, ttl), nil
}

// Set sets a key whatever it is.
func (b *Bucket) Set(now time.Time, key string, value []byte) uint64 {
	return b.set(now, key, value, 0)
}

func (b *Bucket) set(now time.Time, key string, value []byte, ttl time.Duration) uint64 {
	b.revision++
	e := &entry{value: value, revision: b.revision, at: now}

	if ttl > 0 {
		e.expires = now.Add(ttl)
	}

	b.keys[key] = e
	b.changed(key, value)

	return b.revision
}

// Delete removes a key if its revision is the expected one. Errors: jetstream.ErrKeyExists.
func (b *Bucket) Delete(now time.Time, key string, expected uint64) error {
	b.Expire(now)

	e := b.keys[key]
	if e == nil || e.revision != expected {
		return jetstream.ErrKeyExists
	}

	b.revision++
	delete(b.keys, key)
	b.changed(key, nil)

	return nil
}

// Get returns a key.
func (b *Bucket) Get(now time.Time, key string) (value []byte, revision uint64, ok bool) {
	b.Expire(now)

	e := b.keys[key]
	if e == nil {
		return nil, 0, false
	}

	return e.value, e.revision, true
}

// Each visits the keys in order.
func (b *Bucket) Each(now time.Time, visit func(key string, value []byte)) {
	b.Expire(now)

	for _, key := range slices.Sorted(maps.Keys(b.keys)) {
		visit(key, b.keys[key].value)
	}
}
