package verify_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

func ofLoss() map[string]damage {
	return map[string]damage{
		"a write that the target never got": {
			do: func(w *world) {
				w.target = without(w.target, at(w.target, "insert", "e", 1))
				delete(w.targetDocs, "e")
			},
			find: only(verify.I1), kind: "not applied", also: []verify.Invariant{verify.I7, verify.I2},
			says: `shop.orders "e": v1 acknowledged at`,
		},
		"one event dropped from the record of the target": {
			do:   func(w *world) { w.target = without(w.target, at(w.target, "update", "a", 2)) },
			find: only(verify.I1), kind: "not applied", also: only(verify.I7),
			says: "never applied\ncommit 2 of p00 (epoch 1, event 3→4)",
		},
		"one of two deltas of a batch": {
			do:   func(w *world) { w.target = without(w.target, at(w.target, "update", "a", 5)) },
			find: only(verify.I1), kind: "not applied", also: only(verify.I7), says: "v5 acknowledged",
		},
		"a deletion that the target never got": {
			do:   func(w *world) { w.target = without(w.target, at(w.target, "delete", "b", 0)) },
			find: only(verify.I1), kind: "not applied", also: only(verify.I7), says: "v2 acknowledged",
		},
		"lost after a change of owners": {
			do:   func(w *world) { w.target = without(w.target, at(w.target, "update", "a", 4)) },
			find: only(verify.I1), kind: "not applied", also: only(verify.I7), says: "owner p00 epoch 1→2 at event",
		},
		"a write that the source does not know": {
			do: func(w *world) {
				w.writes = append(w.writes, history.Write{Begun: w.now, Time: w.now, Namespace: shop, ID: idOf("z"), Version: 1, Result: history.OK})
			},
			find: only(verify.I1), kind: "not told", says: "no such event",
		},
		"a write that was never captured": {
			do: func(w *world) {
				n, event := len(w.stream), w.event
				w.do("z", what{op: "insert"})
				w.stream, w.event, w.lane[1].queue = w.stream[:n], event, nil
				w.targetDocs["z"] = w.sourceDocs["z"]
			},
			find: only(verify.I1), kind: "not captured", says: "is not in the stream",
		},
		"a write that is still in the stream": {
			do: func(w *world) {
				w.do("a", what{op: "update"})
				w.targetDocs["a"] = w.sourceDocs["a"]
			},
			find: only(verify.I1), kind: "not reached", says: "the checkpoint of p00 ends before it",
		},
		"an event that still waits": {
			do: func(w *world) {
				w.do("b", what{op: "update"})
				w.park(1)
			},
			find: only(verify.I1), kind: "still waits", says: "still waits in atlas_relay.parked",
		},
		"a dead letter that is gone": {
			do:   func(w *world) { w.parked = nil },
			find: only(verify.I1), kind: "letter gone", says: "its dead letter",
		},
		"two dead letters of one event": {
			do: func(w *world) {
				second := slices.Clone(w.parked[0])
				put(&second, "_id", flow+"/S/1/01/000000000000001")
				w.parked = append(w.parked, second)
			},
			find: only(verify.I1), kind: "several letters", says: "in 2 dead letters",
		},
		"a gap that was withdrawn": {
			do:   func(w *world) { fallIntoGap(w); put(&w.gaps[0], "state", "withdrawn") },
			find: only(verify.I1), kind: "not captured", says: "is not in the stream", also: only(verify.I2),
		},
		"a gap elsewhere": {
			do: func(w *world) {
				fallIntoGap(w)
				put(&w.gaps[0], "to.position.t", int64(5))
			},
			find: only(verify.I1), kind: "not captured", says: "is not in the stream", also: only(verify.I2),
		},
		"an unacknowledged write passed over": {
			do: func(w *world) {
				w.target = without(w.target, at(w.target, "insert", "h", 1))
				delete(w.targetDocs, "h")
			},
			find: only(verify.I7), kind: "passed over", says: "v1, in the stream at", also: only(verify.I2),
		},
	}
}

func ofDocuments() map[string]damage {
	return map[string]damage{
		"fields in another order": {
			do: func(w *world) {
				d := w.targetDocs["a"]
				w.targetDocs["a"] = bson.D{d[0], d[2], d[1]}
			},
			find: only(verify.I2), kind: "documents", says: "differs at the end",
		},
		"a value of another type": {
			do:   func(w *world) { w.targetDocs["a"] = with(w.targetDocs["a"], "v", int32(6)) },
			find: only(verify.I2), kind: "documents", says: "\ntarget ",
		},
		"a document too many": {
			do:   func(w *world) { w.targetDocs["new"] = bson.D{{Key: "_id", Value: "new"}} },
			find: only(verify.I2), kind: "documents", says: "on the target only",
		},
		"a document that vanished without an event": {
			do:   func(w *world) { delete(w.targetDocs, "c") },
			find: only(verify.I2), kind: "documents", says: "missing on the target",
		},
		"an _id of another type": {
			do: func(w *world) {
				w.sourceDocs["number"] = bson.D{{Key: "_id", Value: int32(1)}}
				w.targetDocs["number"] = bson.D{{Key: "_id", Value: int64(1)}}
			},
			find: only(verify.I2), kind: "documents", says: "shop.orders",
		},
		"an index that is missing": {
			do:   func(w *world) { define(w, 1, 1); w.targetDefined = nil },
			find: only(verify.I2), kind: "definitions", says: "index a_1 of orders",
		},
		"an index of another kind": {
			do: func(w *world) {
				define(w, 1, 1)

				raw, _ := bson.Marshal(bson.D{{Key: "name", Value: "a_1"}, {Key: "key", Value: bson.D{{Key: "a", Value: int32(-1)}}}, {Key: "expireAfterSeconds", Value: 1}})
				w.targetDefined[0].Definition = raw
			},
			find: only(verify.I2), kind: "definitions", says: "index a_1 of orders",
		},
	}
}

func with(doc bson.D, path string, value any) bson.D {
	put(&doc, path, value)

	return doc
}

func ofOrder() map[string]damage {
	return map[string]damage{
		"a write twice": {
			do: func(w *world) {
				i := at(w.target, "update", "a", 2)
				w.target = slices.Insert(w.target, i, w.target[i])
			},
			find: only(verify.I3), kind: "order", says: "version 2 after version 2",
		},
		"a write again, later": {
			do: func(w *world) {
				later := commitOf(w, at(w.target, "update", "a", 4))
				again := copyOf(w, "update", "a", 2)
				again.doc = with(again.doc, "txnNumber", field(later.doc, "txnNumber"))
				w.target = slices.Insert(w.target, at(w.target, "update", "a", 4), again)
			},
			find: only(verify.I3), kind: "order", says: "version 2 after version 3",
		},
		"a write after a later one": {
			do: func(w *world) {
				i, j := at(w.target, "update", "a", 5), at(w.target, "update", "a", 6)
				w.target[i], w.target[j] = w.target[j], w.target[i]
			},
			find: only(verify.I3), kind: "order", says: "version 5 after version 6",
		},
		"an old insertion after a deletion": {
			do:   func(w *world) { setVersion(w, at(w.target, "insert", "b", 3), 1) },
			find: only(verify.I3), kind: "order", says: "version 1 after version 2", also: only(verify.I1),
		},
		"back behind what a refetched document had": {
			do: func(w *world) {
				i := at(w.target, "update", "k", 4)
				w.target[i].doc = with(w.target[i].doc, "updateDescription.updatedFields.v", int64(1))
			},
			find: only(verify.I3), kind: "order", says: "version 1 after version 1",
		},
	}
}

func setVersion(w *world, i int, version int64) {
	w.target[i].doc = with(w.target[i].doc, "fullDocument.v", version)
}

// header changes a header of the message at an index.
func header(i int, name string, change func(string) string) func(*world) {
	return func(w *world) {
		w.stream[i].Header = cloned(w.stream[i].Header)
		w.stream[i].Header[name] = change(w.stream[i].Header[name])
	}
}

func raised(s string) string {
	n, _ := strconv.Atoi(s)

	return strconv.Itoa(n + 1)
}

func ofStream() map[string]damage {
	to := func(value string) func(string) string { return func(string) string { return value } }

	return map[string]damage{
		"a message missing in the stream": {
			do:   func(w *world) { w.stream = without(w.stream, 5) },
			find: only(verify.I5), kind: "hole", says: "messages 6 to 6 are missing",
		},
		"a message twice": {
			do:   func(w *world) { w.stream = slices.Insert(w.stream, 6, w.stream[5]) },
			find: only(verify.I5), kind: "tail replaced", says: "message 6 came again",
		},
		"a chain that is open": {
			do:   header(5, verify.HeaderExpectedID, to("id-1")),
			find: only(verify.I5), kind: "chain", says: `message 6 names "id-1" as the one before it, which is "id-5"`,
		},
		"a message that names nobody": {
			do: func(w *world) {
				w.stream[5].Header = cloned(w.stream[5].Header)
				delete(w.stream[5].Header, verify.HeaderExpectedID)
			},
			find: only(verify.I5), kind: "chain", says: `message 6 names ""`,
		},
		"an event number left out": {
			do: func(w *world) {
				header(len(w.stream)-1, verify.HeaderEvent, raised)(w)
				setPlace(last(w, 0), "event", int64(w.event+1))
			},
			find: only(verify.I5), kind: "number", says: "behind event",
		},
		"a running number left out": {
			do: func(w *world) {
				header(len(w.stream)-1, verify.HeaderCount, raised)(w)
				setPlace(last(w, 0), "count", int64(w.lane[0].count+1))
			},
			find: only(verify.I5), kind: "count", says: "partition 0: count",
		},
		"a token twice": {
			do:   func(w *world) { header(6, verify.HeaderToken, to(w.stream[5].Header[verify.HeaderToken]))(w) },
			find: only(verify.I5), kind: "token twice", says: "message 7 carries the resume token of message 6",
		},
		"a stranger's message": {
			do: func(w *world) {
				w.stream = append(w.stream, history.Message{Time: w.tick(), Sequence: uint64(len(w.stream) + 1), Subject: "cdc.test.00.shop.orders", Header: map[string]string{}, Size: 5})
			},
			find: only(verify.I5), kind: "malformed", says: "was written by no listener",
		},
		"an event that the source never told": {
			do: func(w *world) {
				w.event++
				w.lane[0].count++
				w.append("cdc.test.00.shop.orders", map[string]string{
					verify.HeaderPosition: "9999.1.0", verify.HeaderToken: "forged", verify.HeaderCount: strconv.FormatUint(w.lane[0].count, 10),
				})
			},
			find: only(verify.I5), kind: "unknown event", says: "where the source told none",
		},
		"an event under the name of another collection": {
			do:   func(w *world) { w.stream[1].Subject = "cdc.test.00.shop.items" },
			find: only(verify.I5), kind: "another event", says: "is of shop.items, the source's event",
		},
		"a part missing": {
			do: func(w *world) {
				i := slices.IndexFunc(w.stream, func(m history.Message) bool { return m.Header[verify.HeaderPart] == "2/3" })
				header(i, verify.HeaderPart, to("1/3"))(w)
			},
			find: only(verify.I5), kind: "part", says: "is part 3 of 3",
		},
		"parts that do not make up the event": {
			do: func(w *world) {
				i := slices.IndexFunc(w.stream, func(m history.Message) bool { return m.Header[verify.HeaderPart] == "2/3" })
				w.stream[i].Size--
			},
			find: only(verify.I5), kind: "size", says: "completes an event of 300 bytes with 299",
		},
		"another stream": {
			do: func(w *world) {
				for i := 5; i < len(w.stream); i++ {
					header(i, verify.HeaderStream, to("T"))(w)
				}
			},
			find: only(verify.I5), kind: "another stream", says: "nobody has accepted that",
		},
		"a lost end that nothing explains": {
			do:   func(w *world) { loseTail(w); w.faults[len(w.faults)-1].LosesTail = false },
			find: only(verify.I5), kind: "tail replaced", says: "nothing that was broken explains it",
		},
		"a generation that no marker begins": {
			do: func(w *world) {
				w.generation++
				w.lane[0].count = 0
				w.do("a", what{op: "update"})
				w.apply(0, 0)
			},
			find: only(verify.I5), kind: "generation", says: "no marker begins it",
		},
	}
}

// setPlace changes what a checkpoint says of its message, told as a whole or field by field.
func setPlace(e *told, name string, value any) {
	fields := field(e.doc, "updateDescription.updatedFields").(bson.D)

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
				w.release(1, []string{follower}, both[1])
				w.release(1, []string{head})
			},
			find: only(verify.I9), kind: "overtaken", says: "which waits",
		},
		"applied before what waits": {
			do: func(w *world) {
				w.do("l", what{op: "update"})
				head := w.park(1)
				w.do("l", what{op: "update"})
				w.apply(1, 0)
				w.release(1, []string{head})
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
				w.samples[2].stats["totalChanges"], w.samples[2].stats["pendingChanges"] = fmt.Sprint(w.event+1), "1"
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
