package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// TestTargetRoleIsEnough: a processor whose user has the role of deploy/mongodb, and nothing else, applies.
func TestTargetRoleIsEnough(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	root := server.Client(t)
	uri := server.UserWith(t, root, "../../deploy/mongodb/target-role.js")

	w := newWorldOn(t, uri.Reveal(), root.Database("shop"))
	w.init(t)
	w.insert(t, "a")
	w.insert(t, "b")

	w.start(t, nil).awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2})
	require.NotEmpty(t, w.document(t, "a"))
}
