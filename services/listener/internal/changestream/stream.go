package changestream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// FullDocument says which image an update carries beside its delta.
type FullDocument string

// Modes of FullDocument. An image read later is newer than its event, never
// exact; the delta always is.
const (
	Delta         FullDocument = "delta"
	UpdateLookup  FullDocument = "updateLookup"
	WhenAvailable FullDocument = "whenAvailable"
)

// batchSize is the most events of one reply. The server ends a reply at 16 MiB
// anyway.
const batchSize = 2000

// BeforeChange says whether an event carries its document as it was before.
type BeforeChange string

// Modes of BeforeChange. A server sends an image from before a change only to a
// stream that asks for it, and has one only of collections with
// changeStreamPreAndPostImages, and for a time; WhenAvailable gives null for
// others and never ends the stream, as "required" would.
const (
	BeforeOff           BeforeChange = "off"
	BeforeWhenAvailable BeforeChange = "whenAvailable"
)

// Options of a Stream.
type Options struct {
	FullDocument FullDocument
	BeforeChange BeforeChange
	// MaxAwait is how long the server holds a request while nothing happens.
	MaxAwait time.Duration
	// ReplyTimeout is how long a reply may take beyond MaxAwait before the
	// source counts as away: a connection that is half open, or a server that
	// hangs, says nothing at all. Default 30 s, for a reply of 16 MiB on a slow
	// line.
	ReplyTimeout time.Duration
}

const defaultReplyTimeout = 30 * time.Second

// Change is what one call of Next found.
type Change struct {
	// Event is the next whole event; nil when none came within MaxAwait. It
	// owns its bytes.
	Event *event.Event
	// Token is the resume token after this change.
	Token bson.Raw
	// Dry says that the next call asks the server.
	Dry bool
}

// Stream is an open change stream over the whole deployment. Filtering is the
// caller's affair: the server refuses an event's token (error 280) as soon as
// its $match would leave the event out. Not safe for concurrent use.
type Stream struct {
	cursor    *mongo.ChangeStream
	id        int64 // of the cursor that Open has opened
	fragments fragments
	asked     bool // a request has followed the one that opened the cursor
	timeout   time.Duration
}

// ErrReopened says that the cursor was lost and the driver has opened another one
// by itself, which it does for every error that it holds for resumable. Where that
// one begins is the driver's guess, not the stream's tail.
var ErrReopened = errors.New("the source has lost the cursor")

// Open opens the change stream of the source after a token. Errors are as the
// driver gives them; pkg/mongodb classifies.
func Open(ctx context.Context, source *mongo.Client, after bson.Raw, opts Options) (*Stream, error) {
	cursor, err := mongodb.Watch(ctx, source, watchOptions(opts).SetResumeAfter(after))
	if err != nil {
		return nil, err
	}

	cursor.SetBatchSize(batchSize)

	return &Stream{cursor: cursor, id: cursor.ID(), timeout: opts.MaxAwait + cmp.Or(opts.ReplyTimeout, defaultReplyTimeout)}, nil
}

func watchOptions(opts Options) *options.ChangeStreamOptionsBuilder {
	o := options.ChangeStream().SetMaxAwaitTime(opts.MaxAwait)

	switch opts.FullDocument {
	case UpdateLookup:
		o.SetFullDocument(options.UpdateLookup)
	case WhenAvailable:
		o.SetFullDocument(options.WhenAvailable)
	case Delta:
	}

	if opts.BeforeChange == BeforeWhenAvailable {
		o.SetFullDocumentBeforeChange(options.WhenAvailable)
	}

	return o
}

// Next waits at most MaxAwait for the next change. After an error the stream is
// dead: open another.
func (s *Stream) Next(ctx context.Context) (Change, error) {
	for {
		found := s.tryNext(ctx)
		if s.cursor.ID() != s.id && s.cursor.Err() == nil {
			return Change{}, fmt.Errorf("read change stream: %w", ErrReopened)
		}

		if !found {
			if err := s.cursor.Err(); err != nil {
				return Change{}, fmt.Errorf("read change stream: %w", err)
			}

			if err := ctx.Err(); err != nil {
				return Change{}, fmt.Errorf("read change stream: %w", err)
			}

			// The reply that opened the cursor has scanned nothing: its token
			// says no more than the one we gave, and a server may well answer
			// an older one. In the middle of a split event the token would
			// skip the event's rest.
			if !s.asked || s.fragments.open() {
				s.asked = true

				continue
			}

			return Change{Token: slices.Clone(s.cursor.ResumeToken()), Dry: true}, nil
		}

		// Current and the token alias the reply, which the next request reuses.
		e, err := event.Parse(slices.Clone(s.cursor.Current))
		if err != nil {
			return Change{}, fmt.Errorf("read change stream: %w", err)
		}

		whole, err := s.fragments.add(e)
		if err != nil {
			return Change{}, fmt.Errorf("read change stream: %w", err)
		}

		if whole == nil {
			continue
		}

		return Change{
			Event: whole,
			Token: slices.Clone(s.cursor.ResumeToken()),
			Dry:   s.cursor.RemainingBatchLength() == 0,
		}, nil
	}
}

// tryNext asks the server when the last reply is used up, with a deadline.
func (s *Stream) tryNext(ctx context.Context) bool {
	if s.cursor.RemainingBatchLength() > 0 {
		return s.cursor.TryNext(ctx)
	}

	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()

	return s.cursor.TryNext(ctx)
}

// Close closes the cursor on the server.
func (s *Stream) Close(ctx context.Context) error {
	if err := s.cursor.Close(ctx); err != nil {
		return fmt.Errorf("close change stream: %w", err)
	}

	return nil
}
