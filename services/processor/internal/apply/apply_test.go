package apply_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

func TestBatchAndCheckpointAreOneCommit(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		require.NoError(t, w.commit(t.Context(),
			w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}}),
			w.insert(t, bson.D{{Key: "_id", Value: 2}, {Key: "v", Value: 1}}),
			w.update(t, 1, set(bson.E{Key: "v", Value: 2})),
			w.remove(t, 2),
		))

		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 2}}), w.document(t, 1))
		require.Nil(t, w.document(t, 2))

		held := w.held(t)
		require.Equal(t, w.last, held)
		require.Equal(t, checkpoint.Counters{Processed: 4, Batches: 1}, held.Counters)
		require.Equal(t, int64(1), held.Commits)
	})
}

// TestDeltas gives each description a document and the exact bytes that it has
// to leave, field order included.
func TestDeltas(t *testing.T) {
	t.Parallel()

	long := bson.A{1, 2, 3, 4, 5}
	cut := func(field string, size int32) bson.E {
		return bson.E{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: field}, {Key: "newSize", Value: size}}}}
	}
	tests := map[string]struct {
		before      bson.D
		description bson.D
		after       bson.D
	}{
		"set and unset": {
			before: bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 2}, {Key: "c", Value: 3}},
			description: bson.D{
				{Key: "updatedFields", Value: bson.D{{Key: "b", Value: "x"}, {Key: "d", Value: 4}}},
				{Key: "removedFields", Value: bson.A{"a"}},
			},
			after: bson.D{{Key: "b", Value: "x"}, {Key: "c", Value: 3}, {Key: "d", Value: 4}},
		},
		"nested": {
			before:      bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: 1}}}},
			description: set(bson.E{Key: "a.b", Value: 2}, bson.E{Key: "a.c", Value: bson.D{{Key: "$weird", Value: 1}}}),
			after:       bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: 2}, {Key: "c", Value: bson.D{{Key: "$weird", Value: 1}}}}}},
		},
		"array element": {
			before:      bson.D{{Key: "a", Value: long}},
			description: set(bson.E{Key: "a.1", Value: 9}, bson.E{Key: "a.5", Value: 6}),
			after:       bson.D{{Key: "a", Value: bson.A{1, 9, 3, 4, 5, 6}}},
		},
		"truncated": {
			before:      bson.D{{Key: "a", Value: long}},
			description: bson.D{cut("a", 2)},
			after:       bson.D{{Key: "a", Value: bson.A{1, 2}}},
		},
		"truncated to nothing": {
			before:      bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: long}}}},
			description: bson.D{cut("a.b", 0)},
			after:       bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: bson.A{}}}}},
		},
		"truncated and elements of the same array set": {
			before: bson.D{{Key: "a", Value: long}},
			description: bson.D{
				{Key: "updatedFields", Value: bson.D{{Key: "a.0", Value: 7}, {Key: "b", Value: 1}}},
				cut("a", 3),
			},
			after: bson.D{{Key: "a", Value: bson.A{7, 2, 3}}, {Key: "b", Value: 1}},
		},
		"number that is a name": {
			before: bson.D{{Key: "scores", Value: bson.D{{Key: "1", Value: 0}, {Key: "x", Value: bson.A{1, 2}}}}},
			description: append(set(bson.E{Key: "scores.1", Value: 7}, bson.E{Key: "scores.x.1", Value: 9}), bson.E{Key: "disambiguatedPaths", Value: bson.D{
				{Key: "scores.1", Value: bson.A{"scores", "1"}}, {Key: "scores.x.1", Value: bson.A{"scores", "x", int32(1)}},
			}}),
			after: bson.D{{Key: "scores", Value: bson.D{{Key: "1", Value: 7}, {Key: "x", Value: bson.A{1, 9}}}}},
		},
		"number that is an index": {
			before:      bson.D{{Key: "a", Value: bson.A{1, 2}}},
			description: append(set(bson.E{Key: "a.1", Value: 7}), bson.E{Key: "disambiguatedPaths", Value: bson.D{{Key: "a.1", Value: bson.A{"a", int32(1)}}}}),
			after:       bson.D{{Key: "a", Value: bson.A{1, 7}}},
		},
		"nothing changed": {
			before:      bson.D{{Key: "a", Value: 1}},
			description: bson.D{{Key: "updatedFields", Value: bson.D{}}, {Key: "removedFields", Value: nil}},
			after:       bson.D{{Key: "a", Value: 1}},
		},
	}

	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		for name, test := range tests {
			id := bson.E{Key: "_id", Value: name}
			require.NoError(t, w.commit(t.Context(), w.insert(t, append(bson.D{id}, test.before...))), name)
			require.NoError(t, w.commit(t.Context(), w.update(t, name, test.description)), name)
			require.Equal(t, marshal(t, append(bson.D{id}, test.after...)), w.document(t, name), name)
		}
	})
}

// ambiguous are descriptions that have more than one reading.
func ambiguous() map[string]bson.D {
	cut := bson.E{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "a"}, {Key: "newSize", Value: 1}}}}

	return map[string]bson.D{
		"disambiguated path":  append(set(bson.E{Key: "a.0", Value: 1}), bson.E{Key: "disambiguatedPaths", Value: bson.D{{Key: "a.0", Value: bson.A{"a.0"}}}}),
		"dollar":              set(bson.E{Key: "$a", Value: 1}),
		"dollar inside":       set(bson.E{Key: "a.$b", Value: 1}),
		"empty component":     set(bson.E{Key: "a..b", Value: 1}),
		"set within set":      set(bson.E{Key: "a", Value: 1}, bson.E{Key: "a.b", Value: 1}),
		"set and unset":       {{Key: "updatedFields", Value: bson.D{{Key: "a", Value: 1}}}, {Key: "removedFields", Value: bson.A{"a"}}},
		"set of a cut array":  {{Key: "updatedFields", Value: bson.D{{Key: "a", Value: bson.A{}}}}, cut},
		"cut within a set":    {{Key: "updatedFields", Value: bson.D{{Key: "a", Value: 1}}}, {Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "a.b"}, {Key: "newSize", Value: 1}}}}},
		"removed and cut too": {{Key: "removedFields", Value: bson.A{"a"}}, cut},
	}
}

// TestAmbiguousDeltaIsRefusedWhateverImageItCarries: the image may be one of the future, and only refetching says of when.
func TestAmbiguousDeltaIsRefusedWhateverImageItCarries(t *testing.T) {
	t.Parallel()

	w := &world{ns: event.Namespace{DB: "shop", Coll: "orders"}}

	for name, description := range ambiguous() {
		for _, image := range []any{nil, bson.D{{Key: "_id", Value: 1}, {Key: "a.0", Value: 1}}} {
			_, err := apply.NewPlan([]apply.Change{w.update(t, 1, description, bson.E{Key: "fullDocument", Value: image})})
			require.ErrorIs(t, err, apply.ErrNeedsImage, name)

			var failed *apply.EventError
			require.ErrorAs(t, err, &failed, name)
			require.Equal(t, w.ns, failed.Namespace)
		}
	}
}

func TestMalformedEventsAreRefused(t *testing.T) {
	t.Parallel()

	w := &world{ns: event.Namespace{DB: "shop", Coll: "orders"}}

	// The lengths of the outer documents are right; that of the inner is not.
	broken := set(bson.E{Key: "abcdefgh", Value: int64(1)})
	lying := w.update(t, 1, broken)
	at := strings.Index(string(lying.Event.Raw), "\x12abcdefgh")
	lying.Event.Raw[at] = 0x02 // a string now, of a length that is not there

	for name, change := range map[string]apply.Change{
		"no full document":     w.change(t, event.Insert, 1),
		"no description":       w.change(t, event.Update, 1),
		"fields not a doc":     w.update(t, 1, bson.D{{Key: "updatedFields", Value: 1}}),
		"removed not a list":   w.update(t, 1, bson.D{{Key: "removedFields", Value: 1}}),
		"removed not names":    w.update(t, 1, bson.D{{Key: "removedFields", Value: bson.A{1}}}),
		"truncated not a list": w.update(t, 1, bson.D{{Key: "truncatedArrays", Value: bson.D{}}}),
		"truncated below zero": w.update(t, 1, bson.D{{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "a"}, {Key: "newSize", Value: -1}}}}}),
		"fields cut off":       lying,
	} {
		_, err := apply.NewPlan([]apply.Change{change})
		require.ErrorIs(t, err, event.ErrMalformed, name)
	}
}

func TestMissingDocumentAbortsTheBatch(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		before := w.held(t)
		missing := w.update(t, "secret-id", set(bson.E{Key: "v", Value: "secret-value"}))
		err := w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}}), missing)

		require.ErrorIs(t, err, apply.ErrMissingDocument)

		var failed *apply.EventError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, missing.Position, failed.Position)
		require.Equal(t, w.ns, failed.Namespace)
		require.NotContains(t, err.Error(), "secret")
		require.Nil(t, w.document(t, 1), "nothing is half applied")
		require.Equal(t, before, w.held(t))
	})
}

// TestUpdateFollowsItsBatch makes the plan follow documents that the batch itself
// makes and deletes.
func TestUpdateFollowsItsBatch(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		require.NoError(t, w.commit(t.Context(),
			w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}}),
			w.update(t, 1, set(bson.E{Key: "v", Value: 2})),
		))

		err := w.commit(t.Context(), w.remove(t, 1), w.update(t, 1, set(bson.E{Key: "v", Value: 3})))
		require.ErrorIs(t, err, apply.ErrMissingDocument)
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 2}}), w.document(t, 1))
	})
}

func TestFullImageSupersedesWithinABatch(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		// The delta finds no document; it does not have to: an image follows.
		require.NoError(t, w.commit(t.Context(),
			w.update(t, 1, set(bson.E{Key: "v", Value: 1})),
			w.replace(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 2}}),
			w.update(t, 2, set(bson.E{Key: "v", Value: 1})),
			w.remove(t, 2),
			w.replace(t, bson.D{{Key: "_id", Value: 1.0}, {Key: "v", Value: 3}}), // the same _id
		))
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1.0}, {Key: "v", Value: 3}}), w.document(t, 1))
		require.Nil(t, w.document(t, 2))
		require.Equal(t, int64(5), w.held(t).Counters.Processed, "superseded ones are processed")
	})
}

func TestUnsupportedEventsAreNotedWithTheCheckpoint(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		plainCreate := w.change(t, event.Create, nil, bson.E{Key: "operationDescription", Value: bson.D{{Key: "idIndex", Value: bson.D{}}}})
		capped := w.change(t, event.Create, nil, bson.E{Key: "operationDescription", Value: bson.D{{Key: "capped", Value: true}}})
		view := w.change(t, event.Create, nil, bson.E{Key: "nsType", Value: "view"})
		drop, index, unknown := w.change(t, "drop", nil), w.change(t, "createIndexes", nil), w.change(t, "transmogrify", nil)

		require.NoError(t, w.commit(t.Context(), plainCreate, capped, drop, index))
		require.NoError(t, w.commit(t.Context(), view, unknown))
		require.Equal(t, checkpoint.Counters{Processed: 1, Skipped: 5, Batches: 2}, w.held(t).Counters)

		noted, err := checkpoint.LoadUnsupported(t.Context(), w.client, w.last.Flow)
		require.NoError(t, err)

		diverges, events := map[string]bool{}, map[string]int64{}

		for _, n := range noted {
			require.Equal(t, w.ns.String(), n.DB+"."+n.Coll)
			diverges[n.Operation], events[n.Operation] = n.Diverges, n.Events
		}

		require.Equal(t, map[string]bool{"create": true, "drop": true, "createIndexes": false, "transmogrify": true}, diverges)
		require.Equal(t, map[string]int64{"create": 2, "drop": 1, "createIndexes": 1, "transmogrify": 1}, events)
	})
}

func TestDocumentsOwnErrorNamesItsEvent(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		require.NoError(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "a", Value: "text"}})))
		before := w.held(t)

		bad := w.update(t, 1, set(bson.E{Key: "a.b", Value: 1})) // code 28: a is no document
		err := w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 2}}), bad)

		var failed *apply.EventError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, bad.Number, failed.Number)
		require.Nil(t, w.document(t, 2))
		require.Equal(t, before, w.held(t))
	})
}

func TestUniqueIndexOfTheTargetStopsItsEvent(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		unique(t, w, "email")

		bad := w.insert(t, bson.D{{Key: "_id", Value: 2}, {Key: "email", Value: "x"}})
		err := w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "email", Value: "x"}}), bad)

		var failed *apply.EventError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, bad.Number, failed.Number)
		require.Nil(t, w.document(t, 1))
	})
}

func TestLargestDocumentPasses(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		doc := bson.D{{Key: "_id", Value: 1}, {Key: "b", Value: bson.Binary{}}}
		doc[1].Value = bson.Binary{Data: make([]byte, 16<<20-len(marshal(t, doc)))}
		require.Len(t, marshal(t, doc), 16<<20)

		require.NoError(t, w.commit(t.Context(), w.insert(t, doc)))
		require.Equal(t, marshal(t, doc), w.document(t, 1))
	})
}

func TestZeroTimestampIsKept(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		if !mongotest.Shared(t).Features(t).KeepsEmptyTimestamp {
			t.Log("the stand-in ignores bypassEmptyTsReplacement: only that it takes the field is shown")
		}

		doc := bson.D{{Key: "_id", Value: 1}, {Key: "at", Value: bson.Timestamp{}}}
		require.NoError(t, w.commit(t.Context(), w.insert(t, doc)))

		if mongotest.Shared(t).Features(t).KeepsEmptyTimestamp {
			require.Equal(t, marshal(t, doc), w.document(t, 1))
		}
	})
}

// TestImageWithDollarNamesReplacesWhatIsThere: mongod takes such a name at the top level of what is inserted, but not of a
// replacement for a document that is there.
func TestImageWithDollarNamesReplacesWhatIsThere(t *testing.T) {
	t.Parallel()

	for name, alone := range map[string]bool{"in a transaction": false, "without transactions": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEveryMode(t, func(t *testing.T, w *world) {
				t.Helper()

				w.again(t, func(o *apply.Options) { o.NoTransactions = alone })

				doc := func(price int) bson.D {
					// Names in their order: the stand-in sorts what a pipeline makes. Values to be taken as they are written.
					return bson.D{
						{Key: "_id", Value: 1},
						{Key: "$price", Value: price},
						{Key: "a.b", Value: bson.D{{Key: "$inc", Value: "$price"}}},
						{Key: "root", Value: "$$ROOT"},
					}
				}

				require.NoError(t, w.commit(t.Context(), w.insert(t, doc(1))))
				require.Equal(t, marshal(t, doc(1)), w.document(t, 1))
				require.NoError(t, w.commit(t.Context(), w.replace(t, doc(2))))
				require.Equal(t, marshal(t, doc(2)), w.document(t, 1))

				// The delta of such a document has to be refetched.
				update := w.update(t, 1, set(bson.E{Key: "$price", Value: 3}))
				_, err := apply.NewPlan([]apply.Change{update})
				require.ErrorIs(t, err, apply.ErrNeedsImage)

				plan, err := apply.NewPlan(nil)
				require.NoError(t, err)
				plan.Put(&update, marshal(t, doc(3)))

				next := w.next(plan, []apply.Change{update})
				require.NoError(t, w.applier.Commit(t.Context(), plan, &w.last, &next))
				require.Equal(t, marshal(t, doc(3)), w.document(t, 1))
			})
		})
	}
}

func TestValidatorsOfTheTargetAreBypassed(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		require.NoError(t, w.client.Database(w.ns.DB).CreateCollection(t.Context(), w.ns.Coll,
			options.CreateCollection().SetValidator(bson.D{{Key: "v", Value: bson.D{{Key: "$exists", Value: true}}}})))
		require.NoError(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}})))
		require.NotNil(t, w.document(t, 1))
	})
}

func unique(tb testing.TB, w *world, field string) {
	tb.Helper()

	_, err := w.coll().Indexes().CreateOne(tb.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: field, Value: 1}}, Options: options.Index().SetUnique(true),
	})
	require.NoError(tb, err)
}
