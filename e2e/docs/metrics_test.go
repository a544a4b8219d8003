package docs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestMetricsReference asks a whole relay for its metrics: those that everybody may build upon are there, with their
// labels, and so is all that the alerts and the board ask for; and deploy/METRICS.md has all of them.
func TestMetricsReference(t *testing.T) {
	t.Parallel()

	var expressions []expression

	for _, a := range alerts(t) {
		expressions = append(expressions, expression{"alert " + a.Name, a.Expr})
	}

	expressions = append(expressions, boardExpressions(t)...)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	relay := flow(t)

	var (
		missing         []string
		page, committed string
		settled         bool
	)

	if !*update {
		committed = read(t, "deploy", "METRICS.md")
	}

	// Some appear only when there is something to say: the history after the first look at the oplog.
	err := harness.Await(ctx, time.Second, func(ctx context.Context) (bool, error) {
		shown := scrape(ctx, t, relay)
		before := page
		page = metricsPage(ctx, t, relay)
		settled = page == committed || *update && page == before
		missing = append(shown.unmet(), undocumented(t, page)...)

		for _, e := range expressions {
			lacks, err := shown.judge(e.text)
			if err != nil {
				return false, fmt.Errorf("%s: %w", e.of, err)
			}

			for _, what := range lacks {
				missing = append(missing, e.of+": "+what)
			}
		}

		return len(missing) == 0 && settled, nil
	})
	require.Empty(t, missing, "no service shows these")
	requirePage(t, "METRICS.md", page)
	require.NoError(t, err)
}

// expression is PromQL and where it stands.
type expression struct{ of, text string }
