package deadletter

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// mostGroups bounds what Groups answers.
const mostGroups = 100

// Group is the dead letters of one collection with one error code.
type Group struct {
	DB, Coll    string
	Code        int
	Error       string // of one of them
	Count       uint64
	First, Last time.Time // when the first and the last one died
}

// Groups returns the dead letters that match by what went wrong where, the largest group first. It looks at the first
// MostCounted of them and returns at most 100 groups; incomplete says that there are more. It returns TargetError.
//
// They are counted here and not by the target: what is read is small, and a record that somebody edited spoils no other.
func (l *Letters) Groups(ctx context.Context, f *Filter) (groups []Group, incomplete bool, err error) {
	filter := append(bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: parked.Dead}}, f.conditions()...)

	var fields bson.D
	for _, field := range []string{"db", "coll", "code", "error", "changed"} {
		fields = append(fields, bson.E{Key: field, Value: 1})
	}

	cursor, err := parked.Records(l.target).Find(ctx, filter, options.Find().SetProjection(fields).SetLimit(MostCounted))
	if err != nil {
		return nil, false, l.failed(err)
	}

	defer func() { _ = cursor.Close(ctx) }() // the server ends it by itself

	type key struct {
		namespace string
		code      int
	}

	found, looked := make(map[key]*Group), 0

	for ; cursor.Next(ctx); looked++ {
		letter := decode(cursor.Current)
		k := key{letter.Namespace().String(), letter.Code}

		g := found[k]
		if g == nil {
			g = &Group{DB: letter.DB, Coll: letter.Coll, Code: letter.Code, Error: letter.Error, First: letter.Changed}
			found[k] = g
		}

		g.Count++

		if letter.Changed.Before(g.First) {
			g.First = letter.Changed
		}

		if letter.Changed.After(g.Last) {
			g.Last = letter.Changed
		}
	}

	if err := cursor.Err(); err != nil {
		return nil, false, l.failed(err)
	}

	for _, g := range found {
		groups = append(groups, *g)
	}

	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.DB, b.DB), strings.Compare(a.Coll, b.Coll), cmp.Compare(a.Code, b.Code))
	})

	return groups[:min(len(groups), mostGroups)], looked == MostCounted || len(groups) > mostGroups, nil
}
