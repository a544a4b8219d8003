package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// Sizes of a reply, in bytes: what is aimed at, and above what it counts as large. No server exceeds 16 MiB, or one
// document.
const (
	replyBytes = 1 << 20
	largeReply = 4 << 20
)

// mostInReply bounds the documents of a reply, firstInReply those of the first one: nothing is known of their size yet.
const (
	mostInReply  = 10_000
	firstInReply = 16
	growth       = 8 // of the number from one reply to the next, at most
)

// side is a collection of one deployment, read in the order of _id. It holds one reply at a time. Where its cursor is
// lost it goes on behind the last document by a new one.
type side struct {
	coll     *mongo.Collection
	from, to bson.RawValue     // the first _id, and the one behind the last; zero: open
	simple   bool              // the collection's own collation is not the simple one
	most     int               // documents of a reply
	of       func(error) error // ofSource or ofTarget

	cursor *mongo.Cursor // nil: not open
	head   bson.Raw      // aliases the reply; nil: not in memory, or the end
	last   bson.RawValue // _id that the head comes after; may alias the reply; zero at the beginning
	behind int           // documents of the reply behind the head
	size   int           // bytes of the documents of this reply that were seen
	seen   int           // documents of this reply that were seen
	asked  int           // documents asked for last; at the beginning those of the first reply
	ended  bool

	bounded  bool // a cursor was opened that was to leave something out
	disorder bool // a document came that by its _id belongs before another one, or into another range
}

// hungry tells that the next document is not in memory.
func (s *side) hungry() bool { return s.head == nil && !s.ended && s.behind == 0 }

// take is done with the head. The next one is there, unless the side is hungry or has ended.
func (s *side) take(ctx context.Context) {
	s.last = s.head.Lookup("_id")
	s.head = nil

	if s.behind > 0 && s.cursor.TryNext(ctx) { // in memory: nothing is asked
		s.look()
	}
}

// look makes the cursor's document the head.
func (s *side) look() {
	s.head = s.cursor.Current
	s.behind = s.cursor.RemainingBatchLength()
	s.size += len(s.head)
	s.seen++
	s.disorder = s.disorder || !s.inOrder(s.head.Lookup("_id"))
}

// inOrder tells whether the server keeps to the order, and the bounds, that it was asked for. An _id that comes twice
// does: it was deleted and inserted again, or two shards have it.
func (s *side) inOrder(id bson.RawValue) bool {
	first := s.last
	if first.Type == 0 {
		first = s.from
	}

	return (first.Type == 0 || Compare(first, id) <= 0) && (s.to.Type == 0 || Compare(id, s.to) < 0)
}

// fill asks the server for what follows, again and again while that may help.
func (s *side) fill(ctx context.Context) error {
	s.last = bson.RawValue{Type: s.last.Type, Value: bytes.Clone(s.last.Value)} // it aliased the reply that goes

	return s.of(retry.Do(ctx, patience(), func(ctx context.Context) error {
		err := s.ask(ctx)
		if err != nil {
			s.close(ctx)
		}

		return lasting(err)
	}))
}

// patience is for servers that are away for a while: a long run should survive an election.
func patience() retry.Policy {
	return retry.Policy{Initial: 200 * time.Millisecond, Max: 5 * time.Second, Attempts: 30}
}

// errDisorder is permanent: behind the last document there may be some that were not read, and before it, too.
var errDisorder = errors.New("the cursor was lost, and in the order of this server nothing says what is left")

// isPassing: 43, 237 and 175 say that the cursor is gone, as after ten minutes without a question.
func isPassing(err error) bool {
	if mongodb.IsTransient(err) {
		return true
	}

	for _, code := range mongo.ErrorCodes(err) {
		if code == 43 || code == 237 || code == 175 { // CursorNotFound, CursorKilled, QueryPlanKilled
			return true
		}
	}

	return false
}

// lasting ends the tries where another one cannot help.
func lasting(err error) error {
	if err == nil || isPassing(err) {
		return err
	}

	return retry.Permanent(err)
}

func (s *side) ask(ctx context.Context) error {
	s.resize()

	if s.cursor == nil {
		if err := s.open(ctx); err != nil {
			return err
		}
	} else {
		s.cursor.SetBatchSize(int32(s.asked)) //nolint:gosec // at most mostInReply
	}

	if s.cursor.Next(ctx) {
		s.look()

		return nil
	}

	if err := s.cursor.Err(); err != nil {
		return fmt.Errorf("read %s.%s: %w", s.coll.Database().Name(), s.coll.Name(), err)
	}

	s.ended = true

	return nil
}

// resize asks for as many documents of the mean size as make a reply.
func (s *side) resize() {
	if s.seen > 0 {
		s.asked = max(1, min(replyBytes/max(1, s.size/s.seen), s.asked*growth, s.most))
	}

	s.size, s.seen = 0, 0
}

func (s *side) open(ctx context.Context) error {
	if s.disorder && s.last.Type != 0 {
		return fmt.Errorf("read %s.%s: %w", s.coll.Database().Name(), s.coll.Name(), errDisorder)
	}

	order := bson.D{{Key: "_id", Value: 1}}
	o := options.Find().SetSort(order).SetBatchSize(int32(s.asked)) //nolint:gosec // at most mostInReply
	filter := bson.D{}

	if s.simple {
		// The _id index has the collection's collation. In the simple one the server sorts the whole collection, on disk
		// where it has to, each time that a cursor is opened.
		o.SetCollation(&options.Collation{Locale: "simple"}).SetAllowDiskUse(true)
	}

	// Bounds of an index hold for values of all types; a comparison in a filter would find those of its own type only.
	if s.last.Type != 0 || s.from.Type != 0 || s.to.Type != 0 {
		s.bounded = true

		if !s.simple {
			o.SetHint(order)
		}
	}

	switch {
	case s.last.Type == 0 && s.from.Type == 0:
	case s.last.Type == 0:
		o.SetMin(bson.D{{Key: "_id", Value: s.from}})
	case s.simple:
		filter = bson.D{{Key: "$expr", Value: bson.D{{Key: "$gt", Value: bson.A{"$_id", literal(s.last)}}}}}
	default:
		o.SetMin(bson.D{{Key: "_id", Value: s.last}})
		filter = bson.D{{Key: "_id", Value: bson.D{{Key: "$ne", Value: s.last}}}}
	}

	if s.to.Type != 0 {
		o.SetMax(bson.D{{Key: "_id", Value: s.to}}) // ranges are made where the index can be used only
	}

	cursor, err := s.coll.Find(ctx, filter, o)
	if err != nil {
		return fmt.Errorf("read %s.%s: %w", s.coll.Database().Name(), s.coll.Name(), err)
	}

	s.cursor = cursor

	return nil
}

func literal(v bson.RawValue) bson.D { return bson.D{{Key: "$literal", Value: v}} }

// close gives the cursor back. The head stays what it was.
func (s *side) close(ctx context.Context) {
	if s.cursor != nil {
		_ = s.cursor.Close(context.WithoutCancel(ctx)) // the server ends it by itself
		s.cursor = nil
	}

	s.behind = 0
}
