package mongodb

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Watch opens the change stream of the whole deployment that a listener reads. Everybody who makes or tries a resume
// token for it opens the same one: a token is good for the stream that it came from.
//
// The first request scans the oplog until its batch is full, so it is sent empty: opening tells at once whether a token
// is good. Set a batch size before reading. Errors are as the driver gives them.
func Watch(ctx context.Context, source *mongo.Client, o *options.ChangeStreamOptionsBuilder) (*mongo.ChangeStream, error) {
	o.SetShowExpandedEvents(true).SetBatchSize(0)

	cursor, err := source.Watch(ctx, mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}}, o)
	if isUnknownStage(err) {
		// Servers before 6.0.9 and 7.0 do not know the stage; an event above
		// 16 MiB ends their stream instead, see IsEventTooLarge.
		cursor, err = source.Watch(ctx, mongo.Pipeline{}, o)
	}

	if err != nil {
		return nil, fmt.Errorf("open change stream: %w", err)
	}

	return cursor, nil
}

// isUnknownStage tells whether the server does not know an aggregation stage
// (40324 UnrecognizedPipelineStage is Location40324 in the server's source).
func isUnknownStage(err error) bool {
	var failed mongo.CommandError

	return errors.As(err, &failed) && failed.HasErrorCode(40324)
}
