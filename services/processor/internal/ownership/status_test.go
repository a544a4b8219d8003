package ownership

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A reason may say how often something was tried: the state is as old as it was.
func TestANewReasonBeginsNoNewState(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		p := &partition{Owner: &Owner{log: slog.New(slog.DiscardHandler), pausing: newPausing()}}
		p.reset()

		began := time.Now()
		p.setState(Paused, "no primary")
		time.Sleep(time.Minute)
		p.setState(Paused, "no primary, tried 7 times")

		require.Equal(t, began, p.board.read().Since)
		require.Equal(t, "no primary, tried 7 times", p.board.read().Reason)

		p.setState(Applying, "")
		require.Equal(t, began.Add(time.Minute), p.board.read().Since)
	})
}
