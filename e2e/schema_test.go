package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

// restless is how often a second the schema changes, or a document of what changes.
const restless = 10

// schemaVariable is how many seconds the tests of this file last; longer runs find more.
const (
	schemaVariable = "E2E_SCHEMA_SECONDS"
	schemaSeconds  = 20
)

// TestSchemaChangesAmidTraffic: collections and indexes come, go and get other names while three processors apply.
func TestSchemaChangesAmidTraffic(t *testing.T) {
	s := openWith(t, map[string]string{"DDL": "on"})
	s.schema = restless
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 3))

	time.Sleep(seconds(t, schemaVariable, schemaSeconds))
	s.progress(steady)
	s.finish()
}

// TestSchemaChangesWhileProcessorsComeAndGo kills, freezes, adds and removes processors, more often than a lease lasts,
// the owner of partition 0 in the middle of a schema change among them.
func TestSchemaChangesWhileProcessorsComeAndGo(t *testing.T) {
	s := openWith(t, map[string]string{"DDL": "on", "LEASE_TTL": "2s"})
	s.schema = restless
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 3))
	s.progress(steady)

	ctx, cancel := context.WithTimeout(t.Context(), seconds(t, schemaVariable, schemaSeconds))
	defer cancel()

	stopSupervising := s.supervise(s.relay.Processors)
	chaos := fault.Processors{
		Relay: s.relay, Seed: s.seed, Every: 1500 * time.Millisecond, Freeze: 3 * time.Second, Most: 4, Told: func(what string) { t.Log(what) },
	}

	hits, err := chaos.Run(ctx)
	require.NoError(t, err)
	t.Log(hits)
	require.Positive(t, hits.Kills+hits.Freezes, "nothing was broken")

	s.progress(steady)
	stopSupervising()
	s.finish()
}
