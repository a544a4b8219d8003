package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// ErrPageToken says that a token was not made by this package, or for another query.
var ErrPageToken = errors.New("the page token does not belong to this query")

// Filter selects records; zero fields select all.
type Filter struct {
	DB, Coll     string    // Coll empty: all collections of DB
	Since, Until time.Time // range of the last change of state; Until is not in it
	Code         *int32    // of the target's last error
	Operation    string    // that was the last action on the record
}

// conditions are what a record must fulfil.
func (f *Filter) conditions() bson.D {
	var conditions bson.D

	if f.DB != "" {
		conditions = append(conditions, bson.E{Key: "db", Value: f.DB})
	}

	if f.Coll != "" {
		conditions = append(conditions, bson.E{Key: "coll", Value: f.Coll})
	}

	if f.Code != nil {
		conditions = append(conditions, bson.E{Key: "code", Value: *f.Code})
	}

	if f.Operation != "" {
		conditions = append(conditions, bson.E{Key: "act", Value: f.Operation})
	}

	var changed bson.D

	if !f.Since.IsZero() {
		changed = append(changed, bson.E{Key: "$gte", Value: f.Since})
	}

	if !f.Until.IsZero() {
		changed = append(changed, bson.E{Key: "$lt", Value: f.Until})
	}

	if changed != nil {
		conditions = append(conditions, bson.E{Key: "changed", Value: changed})
	}

	return conditions
}

// Query is what List lists.
type Query struct {
	Filter

	States []parked.State
}

// fingerprint tells queries apart, so that a token is used with its own only.
func (q *Query) fingerprint(flow string) []byte {
	states := slices.Sorted(slices.Values(q.States))

	code := "any"
	if q.Code != nil {
		code = strconv.Itoa(int(*q.Code))
	}

	text := fmt.Sprintf("%q %q %q %q %d %d %s %q", flow, states, q.DB, q.Coll, q.Since.UnixMilli(), q.Until.UnixMilli(), code, q.Operation)
	sum := sha256.Sum256([]byte(text))

	return sum[:8]
}

// token is the place of the last record of a page. Records are listed by the position of their event, which never
// changes: one that changes its state meanwhile moves no other.
type token struct {
	Query   []byte `json:"q"`
	T       int64  `json:"t"`
	I       int64  `json:"i"`
	Ordinal int64  `json:"o"`
	ID      string `json:"id"`
}

func (t *token) String() string {
	text, _ := json.Marshal(t) //nolint:errchkjson // numbers and strings: it cannot fail

	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(text string, fingerprint []byte) (*token, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrPageToken
	}

	t := new(token)
	if json.Unmarshal(decoded, t) != nil || !slices.Equal(t.Query, fingerprint) {
		return nil, ErrPageToken
	}

	return t, nil
}

// after is the condition for records behind the token's place. The first one says nothing new; it bounds the index.
func (t *token) after() bson.D {
	greater := func(value any) bson.D { return bson.D{{Key: "$gt", Value: value}} }
	second := bson.E{Key: "position.t", Value: t.T}
	increment := bson.E{Key: "position.i", Value: t.I}

	return bson.D{
		{Key: "position.t", Value: bson.D{{Key: "$gte", Value: t.T}}},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "position.t", Value: greater(t.T)}},
			bson.D{second, {Key: "position.i", Value: greater(t.I)}},
			bson.D{second, increment, {Key: "position.ordinal", Value: greater(t.Ordinal)}},
			bson.D{second, increment, {Key: "position.ordinal", Value: t.Ordinal}, {Key: "_id", Value: greater(t.ID)}},
		}},
	}
}

// tokenOf is the place of the last of these records. One whose position somebody edited away is before all others, or
// behind them: it is listed on the first page as far as it fits there, and nothing is ever listed twice.
func tokenOf(page []bson.Raw, fingerprint []byte) *token {
	for _, raw := range slices.Backward(page) {
		position := raw.Lookup("position")
		if t, ok := number(position, "t"); ok {
			last := &token{Query: fingerprint, T: t, I: -1, Ordinal: -1}
			last.ID, _ = raw.Lookup("_id").StringValueOK()

			if i, ok := number(position, "i"); ok {
				last.I = i
			}

			if ordinal, ok := number(position, "ordinal"); ok {
				last.Ordinal = ordinal
			}

			return last
		}
	}

	return &token{Query: fingerprint, T: -1, I: -1, Ordinal: -1}
}

func number(position bson.RawValue, field string) (int64, bool) {
	document, ok := position.DocumentOK()
	if !ok {
		return 0, false
	}

	return document.Lookup(field).AsInt64OK()
}

// List returns the next records of a query in the source's order, without their events, and the token of the page
// after; it is empty when there is none. It returns ErrPageToken and TargetError.
func (l *Letters) List(ctx context.Context, q *Query, size int, pageToken string) (letters []Letter, next string, err error) {
	fingerprint := q.fingerprint(l.flow)
	filter := bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: bson.D{{Key: "$in", Value: q.States}}}}
	filter = append(filter, q.conditions()...)

	if pageToken != "" {
		after, err := parseToken(pageToken, fingerprint)
		if err != nil {
			return nil, "", err
		}

		filter = append(filter, after.after()...)
	}

	found, err := l.find(ctx, filter, int64(size)+1)
	if err != nil {
		return nil, "", err
	}

	if len(found) > size {
		found = found[:size]
		next = tokenOf(found, fingerprint).String()
	}

	for _, raw := range found {
		letters = append(letters, decode(raw))
	}

	return letters, next, nil
}
