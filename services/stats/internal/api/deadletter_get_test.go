package api_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestGetShowsEventAndFollowers(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	head, follower, elsewhere := w.record(1), w.record(2), w.record(3)
	follower.State, follower.Key = parked.Waiting, head.Key
	elsewhere.State = parked.Waiting
	w.insert(t, head, follower, elsewhere)

	got, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: head.ID})
	require.NoError(t, err)
	require.Equal(t, head.ID, got.GetDeadLetter().GetName())
	require.Equal(t, []byte(head.Event), got.GetEventBson())
	require.JSONEq(t, `{"operationType":"insert","fullDocument":{"_id":1}}`, got.GetEventJson())
	require.JSONEq(t, `{"_id":1}`, got.GetDocumentKeyJson())
	require.Equal(t, uint64(1), got.GetFollowersWaiting())
	require.Empty(t, got.GetEventMissingBecause()+got.GetEventJsonMissingBecause())
}

func TestGetShowsARun(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	head, follower, run := w.record(1), w.record(2), w.record(3)
	follower.State, follower.Key = parked.Waiting, head.Key
	run.State, run.Key, run.Event, run.Size = parked.Waiting, head.Key, nil, 0
	run.Events, run.Until = 4711, event.Position{T: 9, I: 8, Ordinal: 7}
	w.insert(t, head, follower, run)

	got, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: head.ID})
	require.NoError(t, err)
	require.Equal(t, uint64(4712), got.GetFollowersWaiting())

	got, err = w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: run.ID})
	require.NoError(t, err)
	require.Zero(t, got.GetFollowersWaiting())
	require.Equal(t, uint64(4711), got.GetDeadLetter().GetRunEvents())
	require.Equal(t, uint32(9), got.GetDeadLetter().GetRunEnd().GetSeconds())
	require.Contains(t, got.GetEventMissingBecause(), "was not kept")
}

// Whatever stands in a document, there is an answer that protobuf and JSON hold.
func TestWeirdEvents(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	document := func(value any) bson.Raw { return marshal(bson.D{{Key: "v", Value: value}}) }
	deep := document(1)

	for range 150 {
		deep = document(deep)
	}

	var n int64

	for name, test := range map[string]struct {
		event bson.Raw
		json  string
	}{
		"NaN":            {document(math.NaN()), `{"$numberDouble":"NaN"}`},
		"infinity":       {document(math.Inf(-1)), `{"$numberDouble":"-Infinity"}`},
		"binary":         {document(bson.Binary{Subtype: 0x80, Data: []byte{0, 0xff}}), `"base64":"AP8="`},
		"year 292 M":     {document(bson.DateTime(math.MaxInt64)), `{"$date":{"$numberLong":"9223372036854775807"}}`},
		"before year 0":  {document(bson.DateTime(math.MinInt64)), `{"$date":{"$numberLong":"-9223372036854775808"}}`},
		"no UTF-8":       {document("a\xff\xfeb"), `a\ufffd\ufffdb`},
		"control codes":  {document("\x00\x1b[31m"), `\u0000\u001b[31m`},
		"no UTF-8 name":  {marshal(bson.D{{Key: "a\xff", Value: 1}}), `a\ufffd`},
		"no UTF-8 regex": {document(bson.Regex{Pattern: "a\xff"}), `$regularExpression`},
		"no UTF-8 code":  {document(bson.CodeWithScope{Code: "a\xff", Scope: bson.D{{Key: "\xff", Value: bson.Symbol("\xff")}}}), `$code`},
		"min and max":    {document(bson.A{bson.MinKey{}, bson.MaxKey{}}), `$minKey`},
		"deep":           {deep, `{"v":{"v":{"v":`},
		"empty document": {bson.Raw{5, 0, 0, 0, 0}, `{}`},
		"no BSON":        {bson.Raw("no BSON at all"), ""},
	} {
		n++
		r := w.record(n)
		// In a chunk, because the stand-in refuses a document that is no UTF-8.
		r.Event, r.Chunks, r.Size = nil, 1, int64(len(test.event))
		w.insertChunks(t, []parked.Chunk{{ID: r.ID + "/0", Flow: w.flow, Record: r.ID, Data: bson.Binary{Data: test.event}}})
		w.insert(t, r)

		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: r.ID})
			require.NoError(t, err)
			require.Equal(t, []byte(test.event), got.GetEventBson())
			require.Equal(t, test.json == "", got.GetEventJsonMissingBecause() != "")
			require.Contains(t, got.GetEventJson(), test.json)

			_, err = protojson.Marshal(got)
			require.NoError(t, err)
		})
	}
}

func TestLargeEvents(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	whole, cut, dropped := w.record(1), w.record(2), w.record(3)
	raw := marshal(bson.D{{Key: "operationType", Value: "insert"}, {Key: "v", Value: bson.Binary{Data: make([]byte, 16<<20)}}})

	for _, r := range []*parked.Record{&whole, &cut} {
		chunks := parked.Split(w.flow, r.ID, raw)
		r.Event, r.Size, r.Chunks = nil, int64(len(raw)), len(chunks)

		if r == &cut {
			chunks = chunks[1:]
		}

		w.insertChunks(t, chunks)
	}

	dropped.Event = nil
	w.insert(t, whole, cut, dropped)

	get := func(name string) *relayv1.GetDeadLetterResponse {
		got, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: name}, grpc.MaxCallRecvMsgSize(72<<20))
		require.NoError(t, err)

		return got
	}

	got := get(whole.ID)
	require.Equal(t, []byte(raw), got.GetEventBson())
	require.Empty(t, got.GetEventJson())
	require.Contains(t, got.GetEventJsonMissingBecause(), "more than 1048576 are not shown")

	require.Contains(t, get(cut.ID).GetEventMissingBecause(), "it has 2 of 3")
	require.Contains(t, get(dropped.ID).GetEventMissingBecause(), "was not kept")

	aged := w.record(4)
	aged.Event, aged.Dropped = nil, died()
	w.insert(t, aged)
	require.Contains(t, get(aged.ID).GetEventMissingBecause(), "it was dropped at 2026-11-25T12:00:00Z")
}

// A record that somebody edited is shown as such, and hides no other.
func TestRecordsEditedByHand(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 5)
	edit := func(name, field string, value any) {
		_, err := parked.Records(w.target).UpdateByID(t.Context(), name, bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}})
		require.NoError(t, err)
	}

	edit(names[0], "rev", "seven")
	edit(names[1], "position", "nowhere")
	edit(names[2], "first", bson.DateTime(math.MaxInt64))
	edit(names[2], "error", strings.Repeat("é", 10_000))
	edit(names[3], "trail", "none")

	var (
		got   = make(map[string]*relayv1.DeadLetter)
		token string
	)

	for range 6 {
		page := w.list(t, &relayv1.ListDeadLettersRequest{PageSize: 2, PageToken: token})

		for _, l := range page.GetDeadLetters() {
			require.NotContains(t, got, l.GetName())
			got[l.GetName()] = l
		}

		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}

	require.Empty(t, token)
	require.Contains(t, got[names[0]].GetUnreadableBecause(), "edited by hand")
	require.Empty(t, got[names[2]].GetUnreadableBecause())
	require.Nil(t, got[names[2]].GetFirstTime())
	require.Contains(t, got, names[4])

	all, err := protojson.Marshal(&relayv1.ListDeadLettersResponse{DeadLetters: []*relayv1.DeadLetter{got[names[2]]}})
	require.NoError(t, err)
	require.Less(t, len(all), 6000)

	content, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: names[0]})
	require.NoError(t, err)
	require.Contains(t, content.GetEventMissingBecause(), "edited by hand")

	outcome := w.replay(t, matching(&relayv1.DeadLetterFilter{}))
	require.Equal(t, uint64(5), outcome.GetMatched())
	require.Equal(t, uint64(3), outcome.GetChanged(), "what can be changed is changed")

	for _, refusal := range outcome.GetRefusals() {
		require.Equal(t, relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_UNREADABLE, refusal.GetReason())
	}

	require.Len(t, outcome.GetRefusals(), 2)
}
