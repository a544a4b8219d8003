package api_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestReplayOfOneRecord(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 2)

	outcome := w.replay(t, named(names[0], names[0]))
	require.Equal(t, uint64(1), outcome.GetMatched())
	require.Equal(t, uint64(1), outcome.GetChanged())
	require.Empty(t, outcome.GetRefusals())

	r := w.load(t, names[0])
	require.Equal(t, parked.Waiting, r.State)
	require.Equal(t, int64(8), r.Rev)
	require.Equal(t, 0, r.Attempts)
	require.True(t, r.Counted, "it failed once, for ever")
	require.WithinDuration(t, time.Now(), r.Changed, time.Minute)
	require.Len(t, r.Trail, 1)
	require.Equal(t, "replay", r.Trail[0].Action)
	require.Regexp(t, `^ann from 127\.0\.0\.1:\d+$`, r.Trail[0].Who)
	require.Equal(t, "the validator was wrong", r.Trail[0].Why)
	require.WithinDuration(t, r.Changed, r.Trail[0].When, 0)

	require.Equal(t, w.record(2), normal(w.load(t, names[1])), "another is left alone")

	again := w.replay(t, named(names[0]))
	require.Equal(t, uint64(0), again.GetChanged())
	require.Equal(t, relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_DEAD, again.GetRefusals()[0].GetReason())
	require.Contains(t, again.GetRefusals()[0].GetMessage(), "it is waiting; last action: replay by ann from ")
	require.Equal(t, r, w.load(t, names[0]), "an action that changes nothing leaves no trace")
}

// normal undoes what BSON does to a record's times.
func normal(r parked.Record) parked.Record {
	r.First, r.Last, r.Changed = r.First.UTC(), r.Last.UTC(), r.Changed.UTC()

	return r
}

func TestDiscardOfAList(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 3)
	superseded := w.record(4)
	superseded.State = parked.Superseded
	w.insert(t, superseded)

	outcome := w.discard(t, named(names[2], superseded.ID, "nobody", names[0]))
	require.Equal(t, uint64(4), outcome.GetMatched())
	require.Equal(t, uint64(2), outcome.GetChanged())
	require.Equal(t, uint64(2), outcome.GetRefused())

	reasons := make(map[string]relayv1.DeadLetterRefusalReason)
	for _, refusal := range outcome.GetRefusals() {
		reasons[refusal.GetName()] = refusal.GetReason()
	}

	require.Equal(t, map[string]relayv1.DeadLetterRefusalReason{
		superseded.ID: relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_DEAD,
		"nobody":      relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND,
	}, reasons)

	for i, state := range []parked.State{parked.Discarded, parked.Dead, parked.Discarded} {
		r := w.load(t, names[i])
		require.Equal(t, state, r.State)
		require.Equal(t, 6, r.Attempts)
	}
}

func TestActionOnAllThatMatch(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.insertDead(t, 10)

	code, waiting, later := w.record(11), w.record(12), w.record(13)
	code.Code = 11000
	waiting.State = parked.Waiting
	later.Changed = died().Add(time.Hour)
	w.insert(t, code, waiting, later)

	filter := &relayv1.DeadLetterFilter{ErrorCode: new(int32(121)), Until: timestamppb.New(died().Add(time.Minute))}

	dry, err := w.client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Selection: matching(filter), RequestedBy: "ann", ValidateOnly: true})
	require.NoError(t, err)
	require.Equal(t, uint64(10), dry.GetOutcome().GetChanged())
	require.Len(t, w.list(t, &relayv1.ListDeadLettersRequest{}).GetDeadLetters(), 12, "nothing was changed")

	outcome := w.discard(t, matching(filter))
	require.Equal(t, uint64(10), outcome.GetMatched())
	require.Equal(t, uint64(10), outcome.GetChanged())
	require.Equal(t, []string{code.ID, later.ID}, namesOf(w.list(t, &relayv1.ListDeadLettersRequest{}).GetDeadLetters()))

	require.Equal(t, uint64(0), w.discard(t, matching(filter)).GetMatched())
}

// An event that is gone, or that belongs to a collection that the source has
// dropped since, is not replayed; it can be discarded.
func TestWhatCannotBeReplayed(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	uuid := func(b byte) bson.Binary {
		return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: append(make([]byte, 15), b)}
	}

	former, present, dropped, elsewhere, without := w.record(1), w.record(2), w.record(3), w.record(4), w.record(5)
	former.CollectionUUID, present.CollectionUUID = uuid(1), uuid(2)
	dropped.Event, dropped.CollectionUUID = nil, uuid(2)
	elsewhere.Coll, elsewhere.CollectionUUID = "carts", uuid(1) // once renamed, say

	drop, index := w.record(6), w.record(7)
	drop.Operation, drop.DocumentKey = event.Drop, nil
	index.Operation, index.DocumentKey = event.CreateIndexes, nil
	w.insert(t, former, present, dropped, elsewhere, without, drop, index)

	want := map[string]relayv1.DeadLetterRefusalReason{
		former.ID:  relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_OTHER_COLLECTION,
		dropped.ID: relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_EVENT,
		drop.ID:    relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_UNREPEATABLE,
	}
	requireRefused := func(outcome *relayv1.DeadLetterOutcome) {
		got := make(map[string]relayv1.DeadLetterRefusalReason)
		for _, refusal := range outcome.GetRefusals() {
			got[refusal.GetName()] = refusal.GetReason()
		}

		require.Equal(t, want, got)
		require.Equal(t, uint64(3), outcome.GetRefused())
	}

	list := w.list(t, &relayv1.ListDeadLettersRequest{}).GetDeadLetters()
	require.Equal(t, "createIndexes", list[len(list)-1].GetOperation())

	shown, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: index.ID})
	require.NoError(t, err)
	require.Empty(t, shown.GetDocumentKeyJson())
	require.NotEmpty(t, shown.GetEventJson())

	dry, err := w.client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{
		Selection: matching(&relayv1.DeadLetterFilter{}), RequestedBy: "ann", ValidateOnly: true,
	})
	require.NoError(t, err)
	requireRefused(dry.GetOutcome())
	require.Equal(t, uint64(4), dry.GetOutcome().GetChanged())

	requireRefused(w.replay(t, named(former.ID, dropped.ID, drop.ID)))

	outcome := w.replay(t, matching(&relayv1.DeadLetterFilter{}))
	requireRefused(outcome)
	require.Equal(t, uint64(4), outcome.GetChanged())
	require.Equal(t, uint64(7), outcome.GetMatched())
	require.Equal(t, parked.Dead, w.load(t, former.ID).State)

	require.Equal(t, uint64(3), w.discard(t, matching(&relayv1.DeadLetterFilter{})).GetChanged())
}

// The source's document takes the place of a run and of an event that was dropped by age.
func TestRecordWithoutAnEventIsReplayed(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)

	for i, selection := range []func(name string) *relayv1.DeadLetterSelection{
		func(name string) *relayv1.DeadLetterSelection { return named(name) },
		func(string) *relayv1.DeadLetterSelection { return matching(&relayv1.DeadLetterFilter{}) },
	} {
		run, dropped := w.record(int64(2*i)), w.record(int64(2*i+1))
		run.Event, run.Size, run.Events, run.Until = nil, 0, 12, event.Position{T: 5000}
		dropped.Event, dropped.Dropped = nil, died()
		w.insert(t, run, dropped)

		for _, r := range []parked.Record{run, dropped} {
			w.replay(t, selection(r.ID))
			require.Equal(t, parked.Waiting, w.load(t, r.ID).State)
		}
	}
}

// Any number of people act on the same letters at once, by name and by filter:
// each letter is changed once, by the one who was told so.
func TestOperatorsAtOnce(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 400)

	const operators = 6

	var (
		group   sync.WaitGroup
		changed [operators]uint64
	)

	for i := range operators {
		conn, err := grpc.NewClient(w.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)

		defer conn.Close()

		client := relayv1.NewDeadLetterServiceClient(conn)

		group.Go(func() {
			who, selection := fmt.Sprintf("operator-%d", i), named(names...)
			if i%2 == 1 {
				selection = matching(&relayv1.DeadLetterFilter{})
			}

			switch i / 2 {
			case 0:
				response, err := client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{Selection: selection, RequestedBy: who})
				if err == nil {
					changed[i] = response.GetOutcome().GetChanged()
				}
			case 1:
				response, err := client.RefetchDeadLetters(t.Context(), &relayv1.RefetchDeadLettersRequest{Selection: selection, RequestedBy: who})
				if err == nil {
					changed[i] = response.GetOutcome().GetChanged()
				}
			default:
				response, err := client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Selection: selection, RequestedBy: who})
				if err == nil {
					changed[i] = response.GetOutcome().GetChanged()
				}
			}
		})
	}

	group.Wait()

	var acted [operators]uint64

	for _, name := range names {
		r := w.load(t, name)
		require.Equal(t, int64(8), r.Rev)
		require.Len(t, r.Trail, 1)

		var i int

		_, err := fmt.Sscanf(r.Trail[0].Who, "operator-%d", &i)
		require.NoError(t, err)

		acted[i]++

		state := parked.Waiting
		if i >= 4 {
			state = parked.Discarded
		}

		require.Equal(t, state, r.State)
		require.Equal(t, i/2 == 1, r.Refetch)
	}

	require.Equal(t, acted, changed)
}

func TestTenThousandAtOnce(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.insertDead(t, 10_000)
	require.Equal(t, uint64(10_000), w.replay(t, matching(&relayv1.DeadLetterFilter{})).GetChanged())
}

func TestFilterThatMatchesNothing(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)
	w.insertDead(t, 1)

	nothing := matching(&relayv1.DeadLetterFilter{Operation: "nobody's"})
	require.Equal(t, uint64(0), w.replay(t, nothing).GetMatched())
	require.Equal(t, uint64(0), w.discard(t, nothing).GetMatched())

	response := w.refetch(t, nothing)
	require.Equal(t, uint64(0), response.GetOutcome().GetMatched())

	o := w.operation(t, response.GetOperation())
	require.True(t, o.GetDone())
	require.Equal(t, uint64(0), o.GetOutcome().GetChanged())
}

func TestGroupsOfTenThousandNamespaces(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)

	var records []any

	for n := range int64(10_000) {
		r := w.record(n + 1)
		if r.Coll = fmt.Sprintf("c%d", n); n < 3 {
			r.Coll = "large"
		}

		records = append(records, r)
	}

	w.insert(t, records...)

	response, err := w.client.ListDeadLetterGroups(t.Context(), new(relayv1.ListDeadLetterGroupsRequest))
	require.NoError(t, err)
	require.Len(t, response.GetGroups(), 100)
	require.True(t, response.GetIncomplete())
	require.Equal(t, "large", response.GetGroups()[0].GetNamespace().GetCollection())
	require.Equal(t, uint64(3), response.GetGroups()[0].GetDeadLetters())
}
