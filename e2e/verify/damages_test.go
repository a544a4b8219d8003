package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
		w.stream[i].Header = maps.Clone(w.stream[i].Header)
		w.stream[i].Header[name] = change(w.stream[i].Header[name])
	}
}

func raised(s string) string {
	n, _ := strconv.Atoi(s)

	return strconv.Itoa(n + 1)
}

// messageOf finds the message of a document's version by its token.
func messageOf(w *world, id string, version int64) int {
	return slices.IndexFunc(w.stream, func(m history.Message) bool {
		return strings.HasSuffix(m.Header[verify.HeaderToken], fmt.Sprintf("/%s/%d\"}", id, version))
	})
}

func ofStream() map[string]damage {
	to := func(value string) func(string) string { return func(string) string { return value } }

	return map[string]damage{
		"a message missing in the stream": {
			do:   func(w *world) { w.stream = without(w.stream, 5) },
			find: only(verify.I5), kind: "hole", says: "messages 6 to 6 are missing",
		},
		"the message of a deletion missing in the stream": {
			do:   func(w *world) { w.stream = without(w.stream, messageOf(w, "b", 2)) },
			find: only(verify.I5), kind: "hole", says: "are missing",
		},
		"the message of a superseded change missing in the stream": {
			do:   func(w *world) { w.stream = without(w.stream, messageOf(w, "c", 2)) },
			find: only(verify.I5), kind: "hole", says: "are missing",
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
				w.stream[5].Header = maps.Clone(w.stream[5].Header)
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
		"a message named by its number that nothing can have lost": {
			do:   func(w *world) { rewindBehindLost(w); w.faults[len(w.faults)-1].LosesTail = false },
			find: only(verify.I5), kind: "chain", says: `names "" as the one before it`,
		},
		"the number of another message named": {
			do: func(w *world) {
				rewindBehindLost(w)

				i := slices.IndexFunc(w.stream, func(m history.Message) bool { return m.Header[verify.HeaderExpectedSequence] != "" })
				w.stream[i].Header[verify.HeaderExpectedSequence] = strconv.Itoa(i - 1)
			},
			find: only(verify.I5), kind: "chain", says: `names "" as the one before it`,
		},
		"a generation left out that the stream never had": {
			do: func(w *world) {
				rewindBehindLostRewind(w)

				i := rewound(w)
				w.stream = slices.Delete(w.stream, i, i+2)
			},
			find: only(verify.I5), kind: "generation", says: "is of generation 2 behind one of 0",
		},
		"an event that comes again in another partition": {
			do: func(w *world) {
				rewind(w)

				again := w.stream[rewound(w)+1:]
				again[0].Subject = strings.Replace(again[0].Subject, ".00.", ".01.", 1)
				again[1].Header[verify.HeaderCount] = "2"
			},
			find: []verify.Invariant{verify.I5, verify.I7}, kind: "another way", says: "is an event of p01 that was in p00 before: shop.orders at",
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
