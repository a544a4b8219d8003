package refetch

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// codeInvalidOptions is the answer to an afterClusterTime beyond the server's own clock
// (https://github.com/mongodb/mongo/blob/master/src/mongo/db/read_concern_mongod.cpp).
const codeInvalidOptions = 72

// errNoOperationTime says that the source is no deployment with an oplog.
var errNoOperationTime = errors.New("the source tells no operation time")

// read reads the document with this _id, and the time T before it. Each of its two reads is bounded by readTimeout.
//
// A causally consistent session makes every read one with afterClusterTime = the latest operation time that the session
// knows: the first one waits for notBefore, the second for T.
func read(ctx context.Context, source *mongo.Client, ns event.Namespace, id bson.RawValue, notBefore bson.Timestamp) (refetch.Image, error) {
	session, err := source.StartSession(options.Session().SetCausalConsistency(true))
	if err != nil {
		return refetch.Image{}, fmt.Errorf("start session: %w", err)
	}
	defer session.EndSession(ctx)

	if !notBefore.IsZero() {
		if err := session.AdvanceOperationTime(&notBefore); err != nil {
			return refetch.Image{}, fmt.Errorf("wait for the event's time: %w", err)
		}
	}

	// Said here although the client has it as its default: the promise rests on it.
	collection := source.Database(ns.DB).Collection(ns.Coll, options.Collection().SetReadConcern(readconcern.Majority()))
	ctx = mongo.NewSessionContext(ctx, session)

	if _, err := find(ctx, collection, id, bson.D{{Key: "_id", Value: 1}}); err != nil {
		return refetch.Image{}, fmt.Errorf("read the source's time: %w", err)
	}

	if err := failpoint.Error(failpoint.RefetchTimed); err != nil {
		return refetch.Image{}, err
	}

	known := session.OperationTime()
	if known == nil {
		return refetch.Image{}, errNoOperationTime
	}

	image := refetch.Image{Time: *known} // a copy: the second read moves the session's on

	if image.Document, err = find(ctx, collection, id, nil); err != nil {
		return refetch.Image{}, fmt.Errorf("read the document: %w", err)
	}

	return image, nil
}

// find returns the document with this _id, nil when there is none. Only the _id is asked for: behind a mongos the shard
// key of an older event may no longer be the document's.
func find(ctx context.Context, collection *mongo.Collection, id bson.RawValue, projection any) (bson.Raw, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()

	// Without $eq an _id that is a document with a $ name would be read as operators, and a regular expression as a
	// pattern.
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: id}}}}

	o := options.FindOne()
	if projection != nil {
		o.SetProjection(projection)
	}

	document, err := collection.FindOne(ctx, filter, o).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}

	return document, err
}

// failure says what an error means to the asker. Texts of the server may quote the document's key, so they stay here.
func failure(err error) *refetch.ReadError {
	f := &refetch.ReadError{Transient: mongodb.IsTransient(err)}

	var command mongo.CommandError

	switch {
	case errors.Is(err, context.Canceled):
		f.Reason, f.Transient = "this listener is stopping", true
	case errors.Is(err, errNoOperationTime):
		f.Reason = err.Error()
	case errors.As(err, &command) && command.Code == codeInvalidOptions:
		// The event's time is ahead of all that this member has heard of: it lags, and nobody has told it yet.
		f.Reason, f.Transient = "this member of the source has not heard of the event's time yet", true
	case errors.As(err, &command) && command.Code != 0:
		f.Reason = fmt.Sprintf("error %d of the source (%s)", command.Code, command.Name)
	case errors.Is(err, context.DeadlineExceeded), mongo.IsTimeout(err):
		f.Reason = fmt.Sprintf("the source did not answer within %s", readTimeout)
	case f.Transient:
		f.Reason = "the source cannot be reached"
	default:
		f.Reason = "the source's answer cannot be read"
	}

	return f
}
