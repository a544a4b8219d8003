package verify_test

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// setPlace changes what a checkpoint says of its message, told as a whole or field by field.
func setPlace(e *told, name string, value any) {
	fields := nested(e.doc, "updateDescription.updatedFields")

	if place, whole := field(fields, "place").(bson.D); whole {
		put(&e.doc, "updateDescription.updatedFields", with(fields, "place", with(place, name, value)))

		return
	}

	fields = slices.Clone(fields)
	for i := range fields {
		if fields[i].Key == "place."+name {
			fields[i].Value = value
		}
	}

	put(&e.doc, "updateDescription.updatedFields", fields)
}

func placeAt(t int64) bson.D {
	return bson.D{{Key: "t", Value: t}, {Key: "i", Value: int64(1)}, {Key: "ordinal", Value: int64(0)}}
}

func ofCommits() map[string]damage {
	return map[string]damage{
		"a transaction in two commits": {
			do: func(w *world) {
				w.sourceTransaction++
				w.clock++
				w.do("a", what{op: "update", inTxn: true})
				w.do("c", what{op: "update", inTxn: true})
				w.apply(0, 1)
				w.apply(0, 1)
			},
			find: only(verify.I4), kind: "split transaction", says: "ends amid a transaction of the source",
		},
		"a lower epoch behind a higher": {
			do:   func(w *world) { setEpoch(w, 1) },
			find: only(verify.I6), kind: "lower epoch", says: "comes behind epoch 2",
		},
		"two owners in one epoch": {
			do:   func(w *world) { put(&last(w, 0).doc, "updateDescription.updatedFields.owner", int64(5)) },
			find: only(verify.I6), kind: "two owners", says: "is of owner 5",
		},
		"a commit missing": {
			do: func(w *world) {
				i := at(w.target, "update", "a", 3)
				w.target = without(without(w.target, i), i-1)
			},
			find: []verify.Invariant{verify.I1, verify.I7}, kind: "not applied", says: "v3 acknowledged", also: only(verify.I7),
		},
		"data without its checkpoint": {
			do:   func(w *world) { w.target = without(w.target, at(w.target, "update", "a", 3)-1) },
			find: only(verify.I7), kind: "commits", says: "comes behind commit",
		},
		"a checkpoint that goes back": {
			do:   func(w *world) { setPlace(last(w, 1), "position", placeAt(1)) },
			find: only(verify.I7), kind: "went back", says: "takes the checkpoint back from position",
		},
		"a checkpoint of another message": {
			do:   func(w *world) { setPlace(last(w, 0), "event", int64(3)) },
			find: only(verify.I7), kind: "another message", says: "as event 3 at",
		},
		"a checkpoint of no message": {
			do:   func(w *world) { setPlace(last(w, 0), "sequence", int64(9999)) },
			find: only(verify.I7), kind: "no message", says: "names message 9999",
		},
		"a checkpoint with another count": {
			do:   func(w *world) { setPlace(last(w, 0), "count", int64(1)) },
			find: only(verify.I7), kind: "another count", says: "with count 1",
		},
		"data ahead of the checkpoint": {
			do: func(w *world) {
				w.do("a", what{op: "update"})
				w.do("c", what{op: "update"})
				w.apply(0, 1)
				w.put(w.lane[0].queue[0])
				w.lane[0].commits++
				w.show("update", "atlas_relay.checkpoints", checkpointID(0), bson.D{{Key: "commits", Value: w.lane[0].commits}, {Key: "place", Value: w.lane[0].queue[0].place}}, false)
			},
			find: only(verify.I7), kind: "ahead", says: "which ends at",
		},
		"data behind the checkpoint": {
			do: func(w *world) {
				w.do("a", what{op: "update"})
				e := w.lane[0].queue[0]
				w.begin(0, e.place)
				w.lane[0].queue = nil
				w.begin(0, e.place)
				w.put(e)
			},
			find: only(verify.I7), kind: "late", says: "but commit",
		},
		"a version that the source never had": {
			do: func(w *world) {
				w.begin(0, w.lane[0].place)
				w.show("update", shop, "a", bson.D{{Key: "v", Value: int64(50)}}, true)
			},
			find: only(verify.I7), kind: "unexplained", says: "v50, which the source never had",
		},
		"a deletion that the source never had": {
			do: func(w *world) {
				w.begin(0, w.lane[0].place)
				w.show("delete", shop, "a", nil, true)
			},
			find: only(verify.I7), kind: "unexplained", says: "covers no deletion of it",
		},
		"a write of nobody": {
			do: func(w *world) {
				w.show("update", shop, "a", bson.D{{Key: "v", Value: int64(50)}}, false)
			},
			find: only(verify.I7), kind: "no commit", says: "came with no checkpoint",
		},
	}
}

// setEpoch changes the epoch in the last commit of partition 0.
func setEpoch(w *world, epoch int64) {
	e := last(w, 0)
	put(&e.doc, "updateDescription.updatedFields.epoch", epoch)
	put(&e.doc, "updateDescription.updatedFields.owner", int64(77))
}

func ofLetters() map[string]damage {
	return map[string]damage{
		"a dead letter of a good document": {
			do: func(w *world) {
				for i := range w.writes {
					w.writes[i].Poison = false
				}
			},
			find: only(verify.I9), kind: "no poison", says: "nothing was wrong with it",
		},
		"a follower before the head": {
			do: func(w *world) {
				w.do("l", what{op: "update"})
				w.do("l", what{op: "update"})
				both := slices.Clone(w.lane[1].queue)
				head, follower := w.park(1), w.park(1)
				w.release([]string{follower}, both[1])
				w.release([]string{head})
			},
			find: only(verify.I9), kind: "overtaken", says: "which waits",
		},
		"applied before what waits": {
			do: func(w *world) {
				w.do("l", what{op: "update"})
				head := w.park(1)
				w.do("l", what{op: "update"})
				w.apply(1, 0)
				w.release([]string{head})
			},
			find: only(verify.I9), kind: "overtaken", says: "v5 was applied while v4 before it waits",
		},
	}
}

func ofSamples() map[string]damage {
	set := func(i int, name string, value any) func(*world) {
		return func(w *world) { w.samples[i].stats[name] = value }
	}

	return map[string]damage{
		"counters that do not add up": {
			do: set(1, "processedChanges", "3"), find: only(verify.I8), kind: "sum", says: "is not processed 3",
		},
		"a counter that is not known": {
			do: func(w *world) { delete(w.samples[1].stats, "pendingChanges") }, find: only(verify.I8), kind: "sum", says: "is not known",
		},
		"statistics that do not say that they add up": {
			do: set(1, "addsUp", false), find: only(verify.I8), kind: "sum", says: "do not say",
		},
		"a counter that goes back": {
			do: func(w *world) {
				for i, n := range []string{"9", "8", "8"} {
					w.samples[i].stats = map[string]any{
						"status": "STATUS_OK", "consistent": true, "addsUp": true, "totalChanges": n, "processedChanges": n,
						"failedChanges": "0", "skippedChanges": "0", "pendingChanges": "0",
					}
				}
			},
			find: only(verify.I8), kind: "went back", says: "total is 8 after 9",
		},
		"more events than the stream has": {
			do: func(w *world) {
				w.samples[2].stats["totalChanges"], w.samples[2].stats["pendingChanges"] = strconv.FormatUint(w.event+1, 10), "1"
			},
			find: only(verify.I8), kind: "total", says: "the stream's last message",
		},
		"broken in silence": {
			do: func(w *world) {
				w.target = without(w.target, at(w.target, "update", "a", 2))
				w.samples = append(w.samples, sample{w.now.Add(11 * time.Second), w.samples[2].stats})
			},
			find: []verify.Invariant{verify.I1, verify.I10}, kind: "not applied", says: "v2", also: only(verify.I7),
		},
		"never well again, and no remedy": {
			do: func(w *world) {
				w.samples[1].stats["status"], w.samples[2].stats["status"] = "STATUS_DOWN", "STATUS_DOWN"
			},
			find: only(verify.I12), kind: "no remedy", says: "names no next step",
		},
	}
}

func ofMachines() map[string]damage {
	use := func(change func(*history.Usage)) func(*world) {
		return func(w *world) { change(&w.usage[1]) }
	}

	return map[string]damage{
		"a secret in a log": {
			do:   func(w *world) { w.logs["listener.log"] += strings.Repeat("x", 1<<20-40) + "open-sesame" },
			find: only(verify.I11), kind: "secret", says: "listener.log holds canary 1",
		},
		"memory that is not given back": {
			do:   use(func(u *history.Usage) { u.Memory = 500 << 20 }),
			find: only(verify.I11), kind: "leak", says: "bytes of memory",
		},
		"goroutines that do not end": {
			do:   use(func(u *history.Usage) { u.Goroutines = 400 }),
			find: only(verify.I11), kind: "leak", says: "listener has 400 goroutines",
		},
		"files that stay open": {
			do:   use(func(u *history.Usage) { u.Files = 200 }),
			find: only(verify.I11), kind: "leak", says: "open files",
		},
		"a fault that missed": {
			do:   func(w *world) { w.faults[0].Hits = 0 },
			find: only(verify.Vacuity), kind: "fault missed", says: "did not hit",
		},
		"a fault while nobody wrote": {
			do:   func(w *world) { w.faults[0].From, w.faults[0].To = w.now, w.now; w.samples[2].at = w.now },
			find: only(verify.Vacuity), kind: "idle fault", says: "0 changes were written",
		},
		"a run in which nothing was written": {
			do: func(w *world) {
				for i := range w.writes {
					w.writes[i].Result = history.Unknown
				}
			},
			find: only(verify.Vacuity), kind: "empty", says: "a write that the source acknowledged",
		},
	}
}
