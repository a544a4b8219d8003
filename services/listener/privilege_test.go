package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// TestSourceRoleIsEnoughToReadAndForbidsWriting: with the role of deploy/mongodb the source can be watched and read,
// not written.
func TestSourceRoleIsEnoughToReadAndForbidsWriting(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	root := server.Client(t)
	_, err := root.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	client, err := mongodb.Connect(server.UserWith(t, root, "../../deploy/mongodb/source-role.js"), mongodb.Options{ServerSelectionTimeout: 30 * time.Second})
	require.NoError(t, err)

	defer func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), client) }()

	stream, err := client.Watch(t.Context(), bson.A{})
	require.NoError(t, err)
	require.NoError(t, stream.Close(t.Context()))

	catalog, err := mongodb.Catalog(t.Context(), client)
	require.NoError(t, err)
	require.NotEmpty(t, catalog)

	orders := client.Database("shop").Collection("orders")
	require.NoError(t, orders.FindOne(t.Context(), bson.D{}).Err())

	_, err = orders.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 2}})
	require.True(t, mongodb.IsUnauthorized(err), "%v", err)
	require.True(t, mongodb.IsUnauthorized(orders.Drop(t.Context())))
}
