package flow_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// audit returns what was done to the flow, the latest first, and forgets the times.
func (w *world) audit(t *testing.T) []audit.Action {
	t.Helper()

	actions, err := audit.List(t.Context(), w.target, w.flow(), "", 100)
	require.NoError(t, err)

	return actions
}

// TestALifeIsInTheAudit: each command that changes the flow leaves who, why and how it ended; those that change nothing
// leave nothing; and flow delete removes none of it.
func TestALifeIsInTheAudit(t *testing.T) {
	t.Parallel()

	w := newLostWorld(t)
	require.Len(t, w.audit(t), 1)

	made := w.audit(t)[0]
	require.Equal(t, "flow init", made.Action)
	require.Equal(t, operator.Name, made.Who)
	require.Equal(t, operator.Reason, made.Why)
	require.Contains(t, made.Selection, "CDC_"+w.flow()+" with 4 partitions")
	require.Equal(t, int64(1), made.End.Changed)
	require.Empty(t, made.End.Failed)

	_, err := w.init(t)
	require.NoError(t, err)
	_, err = w.acceptGapAs(t, flow.GapRequest{At: "now", By: operator, DryRun: true})
	require.NoError(t, err)
	_, err = flow.AcceptDivergence(t.Context(), w.targetSettings(t), operator, true)
	require.NoError(t, err)
	require.Len(t, w.audit(t), 1, "nothing was changed")

	_, err = w.acceptGap(t, "now")
	require.NoError(t, err)
	_, err = w.acceptGap(t, "a token that is none")
	require.Error(t, err)
	_, err = flow.AcceptDivergence(t.Context(), w.targetSettings(t), flow.Operator{Name: "bob@example", Reason: "compared"}, false)
	require.NoError(t, err)

	var s flow.DeleteSettings
	require.NoError(t, settings.Load(&s, w.env))
	_, err = flow.Delete(t.Context(), &s, operator, slog.New(slog.DiscardHandler))
	require.NoError(t, err)

	found := w.audit(t)
	require.Len(t, found, 5)

	for i, want := range []string{"flow delete", "flow accept-divergence", "flow accept-gap", "flow accept-gap", "flow init"} {
		require.Equal(t, want, found[i].Action)
		require.NotNil(t, found[i].End, want)
	}

	require.Positive(t, found[0].End.Changed)
	require.Equal(t, "bob@example", found[1].Who)
	require.Equal(t, int64(1), found[1].End.Changed)
	require.NotEmpty(t, found[2].End.Failed)
	require.Zero(t, found[2].End.Changed)
	require.Equal(t, int64(1), found[3].End.Changed)
	require.Contains(t, found[3].Selection, "now")
}

// TestWhatCannotBeRecordedIsNotDone: the target is away, so the stream stays.
func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t)
	require.NoError(t, err)

	var s flow.DeleteSettings
	require.NoError(t, settings.Load(&s, w.env))
	s.TargetURI = settings.NewURI("mongodb://127.0.0.1:1/?directConnection=true")

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	_, err = flow.Delete(ctx, &s, operator, slog.New(slog.DiscardHandler))
	require.Error(t, err)
	w.open(t)
}
