package docs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestMetricsExist asks a whole relay for its metrics: those that everybody may build upon are there, with their labels,
// and so is all that the alerts and the board ask for.
func TestMetricsExist(t *testing.T) {
	t.Parallel()

	var expressions []expression

	for _, a := range alerts(t) {
		expressions = append(expressions, expression{"alert " + a.Name, a.Expr})
	}

	expressions = append(expressions, boardExpressions(t)...)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	relay := flow(t)

	var missing []string

	// Some appear only when there is something to say: the history after the first look at the oplog.
	err := harness.Await(ctx, time.Second, func(ctx context.Context) (bool, error) {
		shown := scrape(ctx, t, relay)
		missing = shown.unmet()

		for _, e := range expressions {
			lacks, err := shown.judge(e.text)
			if err != nil {
				return false, fmt.Errorf("%s: %w", e.of, err)
			}

			for _, what := range lacks {
				missing = append(missing, e.of+": "+what)
			}
		}

		return len(missing) == 0, nil
	})
	require.NoError(t, err, "no service shows: %q", missing)
}

// expression is PromQL and where it stands.
type expression struct{ of, text string }
