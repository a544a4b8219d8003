package natsmodel

import (
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Server is a server in memory. Not for concurrent use.
type Server struct {
	now     func() time.Time
	streams map[string]*Stream
	buckets map[string]*Bucket
}

// NewServer returns one with nothing in it.
func NewServer(now func() time.Time) *Server {
	return &Server{now: now, streams: map[string]*Stream{}, buckets: map[string]*Bucket{}}
}

// CreateStream makes a stream, in the place of any of its name.
func (s *Server) CreateStream(config jetstream.StreamConfig) *Stream {
	stream := newStream(config)
	s.streams[config.Name] = stream

	return stream
}

// Stream returns one; nil when there is none.
func (s *Server) Stream(name string) *Stream { return s.streams[name] }

// CreateBucket makes a bucket, in the place of any of its name.
func (s *Server) CreateBucket(name string) *Bucket {
	b := newBucket()
	s.buckets[name] = b

	return b
}

// Restart is a crash and a start: of each stream the last messages may be gone, which
// were not synced.
func (s *Server) Restart(gone int) {
	for _, name := range slices.Sorted(maps.Keys(s.streams)) {
		s.streams[name].restart(gone)
	}
}
