package verify_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// good is a run in which everything happens that a checker could take for damage.
func good() *world {
	w := newWorld()

	for _, id := range []string{"a", "b", "c"} {
		w.do(id, what{op: "insert"})
	}

	w.apply(0, 0)
	w.apply(1, 0)

	for range 2 { // one after the other
		w.do("a", what{op: "update"})
		w.apply(0, 0)
	}

	w.do("c", what{op: "update"}) // superseded in its batch
	w.do("c", what{op: "replace"})
	w.apply(0, 0)

	w.do("b", what{op: "delete"}) // and back again
	w.apply(1, 0)
	w.do("b", what{op: "insert"})
	w.apply(1, 0)

	w.do("d", what{op: "insert"}) // nobody sees it
	w.do("d", what{op: "delete"})
	w.apply(1, 0)

	w.sourceTransaction++
	w.clock++

	for _, id := range []string{"e", "f", "g"} {
		w.do(id, what{op: "insert", inTxn: true})
	}

	w.apply(0, 0)
	w.apply(1, 0)

	w.do("x", what{op: "insert", hidden: true})
	w.do("i", what{op: "insert", parts: 3})
	w.apply(0, 0)

	w.acquire(0)
	w.do("a", what{op: "update"})
	w.apply(0, 0)

	w.marker()
	w.do("a", what{op: "update"}) // deltas stay separate
	w.do("a", what{op: "update"})
	w.apply(0, 0)

	w.do("h", what{op: "insert", result: history.Unknown})
	w.apply(1, 0)

	goodDeletion(w)
	goodParked(w)
	goodGone(w)
	goodRefetched(w)

	w.faults = []history.Fault{{Class: "kill", Victim: "processor-1", From: w.meta.Started, To: w.now, Hits: 1}}
	w.sample("DEGRADED", 1)
	w.sample("OK", 0)
	w.sample("OK", 0)

	for _, phase := range []string{history.Baseline, history.End} {
		w.usage = append(w.usage, history.Usage{Time: w.tick(), Service: "listener", PID: 1, Phase: phase, Memory: 50 << 20, Goroutines: 40, Files: 20})
	}

	w.meta.Canaries = []string{"open-sesame"}
	w.logs["listener.log"] = `{"msg":"started","source":"mongodb://***"}`
	w.finish()

	return w
}

// goodDeletion: of two deletions in a row, which the source's events do not tell apart, the second one happened.
func goodDeletion(w *world) {
	w.do("q", what{op: "insert"})

	w.versions["q"]++
	w.writes = append(w.writes, history.Write{
		Begun: w.tick(), Time: w.tick(), Namespace: shop, ID: idOf("q"), Version: w.versions["q"], Deleted: true, Result: history.Unknown,
	})

	w.do("q", what{op: "delete"})
	w.do("q", what{op: "insert"})
	w.apply(1, 0)
}

// goodParked: a dead letter, and a document whose events wait and are applied in order.
func goodParked(w *world) {
	w.do("j", what{op: "insert", poison: true})
	w.die(1, w.park(1))

	w.do("l", what{op: "insert"})
	w.apply(1, 0)
	w.do("l", what{op: "update"})
	w.do("l", what{op: "update"})

	waiting := slices.Clone(w.lane[1].queue)
	head, follower := w.park(1), w.park(1)
	w.release([]string{head}, waiting[0])
	w.release([]string{follower}, waiting[1])
}

// goodGone: a document is read from the source again, which has none any more.
func goodGone(w *world) {
	w.do("m", what{op: "insert"})
	w.apply(1, 0)
	w.do("m", what{op: "update"})
	record := w.park(1)

	w.do("m", what{op: "update"})
	w.do("m", what{op: "delete"})
	w.refetch(1, "m", w.clock, record)

	for _, e := range w.lane[1].queue { // what comes up to then is covered, one commit after the other
		w.begin(1, e.place)
	}

	w.lane[1].queue = nil
	w.begin(1, w.lane[1].place)
}

// goodRefetched: an image of the source is newer than the stream, so a version comes again.
func goodRefetched(w *world) {
	w.do("k", what{op: "insert"})
	w.apply(0, 0)

	w.do("k", what{op: "update"})
	record := w.park(0)

	w.do("k", what{op: "update"})
	t := w.clock
	w.do("k", what{op: "update"})
	w.refetch(0, "k", t, record)

	// The event up to t is covered, the one behind it is applied again.
	l := &w.lane[0]
	w.begin(0, l.queue[1].place)
	w.put(l.queue[1])
	l.queue = nil

	w.do("k", what{op: "update"})
	w.apply(0, 0)
}

func TestGoodHistoriesPass(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*world){
		"as it is": func(*world) {},
		"only the files that must be": func(w *world) {
			w.without = []string{
				history.SamplesFile, history.FaultsFile, history.UsageFile, history.ParkedFile, history.GapsFile,
				history.SourceDefinitions, history.TargetDefinitions,
			}
			// Without the records at the end nothing says why j is not there.
			w.targetDocs["j"] = w.sourceDocs["j"]
		},
		"an answer that came late": func(w *world) {
			slices.Reverse(w.writes)
		},
		"a write that failed": func(w *world) {
			w.writes = append(w.writes, history.Write{Begun: w.now, Time: w.now, Namespace: shop, ID: idOf("a"), Version: 99, Result: history.Fail})
		},
		"two-way": func(w *world) {
			w.meta.TwoWay = true
			w.show("insert", shop, "of the target", bson.D{{Key: "_id", Value: "of the target"}, {Key: "v", Value: int64(1)}}, false)
			w.sourceDocs["of the target"] = bson.D{{Key: "_id", Value: "of the target"}, {Key: "v", Value: int64(1)}}
			w.targetDocs["of the target"] = w.sourceDocs["of the target"]
		},
		"transactions whose events come mixed": func(w *world) {
			w.do("a", what{op: "update"})
			w.do("b", what{op: "replace"})

			before := len(w.target)
			w.apply(0, 0)
			w.apply(1, 0)

			own := w.target[before:] // checkpoint and data of both
			w.target = append(w.target[:before:before], own[0], own[2], own[1], own[3])
		},
		"rewound":                             rewind,
		"rewound behind a lost message":       rewindBehindLost,
		"rewound behind a lost rewind":        rewindBehindLostRewind,
		"the end of the stream lost":          loseTail,
		"behind a gap":                        fallIntoGap,
		"a dropped collection":                dropCollection,
		"at least once":                       func(w *world) { w.meta.AtLeastOnce = true; w.target = append(w.target, copyOf(w, "update", "a", 2)) },
		"equal definitions but for an expiry": func(w *world) { define(w, 60, 1<<31-1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := good()
			change(w)

			report := check(t, w, few)
			require.True(t, report.OK(), "%s", text(t, report))
			require.Greater(t, report.Figures.Commits, 20)
		})
	}
}

// rewind publishes what is behind the checkpoints anew, in another generation.
func rewind(w *world) { rewindBy(w, 1) }

// rewindBy is rewind to a generation so many behind the present one.
func rewindBy(w *world, generations uint64) {
	w.do("a", what{op: "update"})
	w.do("b", what{op: "replace"})

	waiting := []waiting{w.lane[0].queue[0], w.lane[1].queue[0]}
	w.event -= 2
	w.clock -= 2
	w.generation += generations

	w.marker()

	w.clock += 2

	for p := range w.lane {
		w.lane[p].queue, w.lane[p].count = nil, 0
	}

	for i, e := range waiting { // the position is of the source, whatever came behind it
		last := w.source
		w.source = w.source[:len(w.source)-len(waiting)+1+i]
		w.publish(e.event, e.id, e.version, 1)
		w.source = last
	}

	w.apply(0, 0)
	w.apply(1, 0)
	w.sample("OK", 0)
}

// rewound is where the stream begins a generation.
func rewound(w *world) int {
	return slices.IndexFunc(w.stream, func(m history.Message) bool { return m.Header[verify.HeaderGeneration] != "" })
}

// loseTail has the server lose two messages, one of which is applied already.
func loseTail(w *world) {
	w.do("a", what{op: "update"})
	w.apply(0, 0)
	w.do("b", what{op: "replace"})

	lost := slices.Clone(w.stream[len(w.stream)-2:])
	w.marker()

	again := w.stream[:len(w.stream)-1]
	for i := range lost {
		lost[i].Time = w.tick()
		lost[i].Header = maps.Clone(lost[i].Header)
		lost[i].Header[verify.HeaderWriter] = "2"
	}

	w.stream = append(slices.Clone(again), lost...)
	w.apply(1, 0)
	w.faults = append(w.faults, history.Fault{Class: "power cut", From: w.meta.Started, To: w.now, Hits: 1, LosesTail: true})

	w.event-- // what the stream counts goes back for a moment
	w.sample("OK", 0)
	w.event++
	w.sample("OK", 0)
}

// rewindBehindLost is rewind on a server that has lost the last message and remembers its number, by which the marker
// names it.
func rewindBehindLost(w *world) {
	rewind(w)

	i := rewound(w)
	delete(w.stream[i].Header, verify.HeaderExpectedID)
	w.stream[i].Header[verify.HeaderExpectedSequence] = strconv.Itoa(i)

	w.faults = append(w.faults, history.Fault{Class: "damaged block", From: w.meta.Started, To: w.now, Hits: 1, LosesTail: true})
}

// rewindBehindLostRewind is rewind on a server that has lost a rewind, and the message before it, which came again: the number of
// that rewind is not given twice.
func rewindBehindLostRewind(w *world) {
	rewindBy(w, 2)

	i := rewound(w)
	lost := w.stream[i]
	lost.Header = maps.Clone(lost.Header)
	lost.Header[verify.HeaderGeneration], lost.Header[verify.HeaderID] = "1", "lost"

	w.stream = slices.Insert(w.stream, i, lost, w.stream[i-1])
	w.faults = append(w.faults, history.Fault{Class: "power cut", From: w.meta.Started, To: w.now, Hits: 1, LosesTail: true})
}

// TestTargetThatWentBackIsJudgedByTheRest: of a target that was restored from a backup the record does not tell what each
// of its histories began with, so its commits are not judged; all else is.
func TestTargetThatWentBackIsJudgedByTheRest(t *testing.T) {
	t.Parallel()

	back := func(change func(*world)) *world {
		w := good()
		w.do("a", what{op: "update"})
		w.sample("OK", 1)
		w.apply(0, 0)
		w.sample("OK", 0)
		w.meta.TargetBack = true
		w.target = w.target[:len(w.target)/2]
		change(w)

		return w
	}

	report := check(t, back(func(w *world) {
		w.samples[len(w.samples)-1].stats["processedChanges"], w.samples[len(w.samples)-1].stats["pendingChanges"] = "0", strconv.FormatUint(w.event-w.skipped, 10)
	}), few)
	require.True(t, report.OK(), "%s", text(t, report))
	require.Zero(t, report.Figures.Commits)
	require.Contains(t, strings.Join(report.NotJudged, "\n"), "restored from a backup")

	for name, wrong := range map[verify.Invariant]func(*world){
		verify.I1: func(w *world) { w.stream = w.stream[:len(w.stream)-1] },
		verify.I2: func(w *world) { delete(w.targetDocs, "a") },
		verify.I5: func(w *world) { w.stream[8].Header[verify.HeaderEvent] = "99" },
		verify.I8: func(w *world) { w.samples[1].stats["processedChanges"] = "3" },
	} {
		report := check(t, back(wrong), few)
		require.NotEmpty(t, report.Findings, name)
		require.Equal(t, name, report.Findings[0].Invariant, "%s", text(t, report))
	}
}

// fallIntoGap has the source forget a change that somebody accepts as lost.
func fallIntoGap(w *world) {
	from := w.clock
	events := w.event
	w.do("a", what{op: "update"})

	l := &w.lane[0]
	w.stream, w.event, l.queue = w.stream[:len(w.stream)-1], events, nil
	l.count--

	edge := func(t uint32) bson.D {
		return bson.D{{Key: "position", Value: bson.D{{Key: "t", Value: int64(t)}, {Key: "i", Value: int64(1)}, {Key: "ordinal", Value: int64(0)}}}}
	}
	w.gaps = append(w.gaps, bson.D{{Key: "_id", Value: "g"}, {Key: "flow", Value: flow}, {Key: "state", Value: "closed"}, {Key: "from", Value: edge(from)}, {Key: "to", Value: edge(w.clock)}})
}

func dropCollection(w *world) {
	for _, side := range []*[]told{&w.source, &w.target} {
		w.clock++
		*side = append(*side, told{w.tick(), bson.D{
			{Key: "operationType", Value: "drop"},
			{Key: "clusterTime", Value: bson.Timestamp{T: w.clock, I: 1}},
			{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
		}})
	}

	clear(w.sourceDocs)
	clear(w.targetDocs)
}

func define(w *world, source, target int64) {
	w.meta.Schema = true

	for _, side := range []struct {
		list   *[]history.Definition
		expiry int64
	}{{&w.sourceDefined, source}, {&w.targetDefined, target}} {
		raw, _ := bson.Marshal(bson.D{{Key: "name", Value: "a_1"}, {Key: "key", Value: bson.D{{Key: "a", Value: int32(1)}}}, {Key: "expireAfterSeconds", Value: side.expiry}})
		*side.list = append(*side.list, history.Definition{Namespace: shop, Index: "a_1", Definition: raw})
	}
}
