package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// restless is how often a second the schema changes, or a document of what changes.
const restless = 4

// schemaPatience: all partitions wait for the last of them at every schema change, so that a busy machine is slower at
// these than at anything else.
const schemaPatience = 10 * time.Minute

// schemaVariable is how many seconds the tests of this file last; longer runs find more.
const (
	schemaVariable = "E2E_SCHEMA_SECONDS"
	schemaSeconds  = 20
)

// TestSchemaChangesAmidTraffic: collections and indexes come, go and get other names while three processors apply.
func TestSchemaChangesAmidTraffic(t *testing.T) {
	s := openWith(t, map[string]string{"DDL": "on"})
	s.schema, s.patience = restless, schemaPatience
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 3))

	s.progress(steady * number(t, schemaVariable, schemaSeconds))
	s.finish()
}

// TestSchemaChangesWhileProcessorsComeAndGo kills, freezes, adds and removes processors, more often than a lease lasts,
// the owner of partition 0 in the middle of a schema change among them.
func TestSchemaChangesWhileProcessorsComeAndGo(t *testing.T) {
	s := openWith(t, map[string]string{"DDL": "on", "LEASE_TTL": "2s"})
	s.schema, s.patience = restless, schemaPatience
	s.write()
	s.comeAndGo(seconds(t, schemaVariable, schemaSeconds))
	s.finish()
}

// TestSchemaChangesInEveryOrder writes, renames, drops and makes two collections and their indexes again as fast as it
// goes, in round after round with another number of partitions and processors.
func TestSchemaChangesInEveryOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(seed(t), 0))
	end := time.Now().Add(seconds(t, schemaVariable, schemaSeconds))

	for round := 1; round == 1 || time.Now().Before(end); round++ {
		partitions, processors, given := 1+random.IntN(16), 1+random.IntN(3), 1+random.Uint64N(1_000_000)

		t.Run(fmt.Sprintf("%d partitions, %d processors", partitions, processors), func(t *testing.T) {
			s := openWith(t, map[string]string{"DDL": "on", "PARTITIONS": strconv.Itoa(partitions)})
			s.patience = schemaPatience
			s.seed, s.rate, s.schema, s.shelves = given, 20, 200, 2
			s.write()
			require.NoError(t, s.relay.Scale(t.Context(), processors))
			require.Eventually(t, func() bool { return s.traffic.Journal().Changes() > roundChanges }, patience, 50*time.Millisecond)
			s.finish()
		})
	}
}

// roundChanges is how long a round is.
const roundChanges = 300
