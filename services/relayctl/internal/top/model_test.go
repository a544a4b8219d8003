package top_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/top"
)

// later is the same flow some seconds and changes later.
func later(s *relayv1.Stats, seconds int, changes uint64) *relayv1.Stats {
	s = proto.CloneOf(s)
	s.SampleTime = timestamppb.New(s.GetSampleTime().AsTime().Add(time.Duration(seconds) * time.Second))
	s.TotalChanges = new(s.GetTotalChanges() + changes)
	s.ProcessedChanges = new(s.GetProcessedChanges() + changes)

	return s
}

func lineWith(t *testing.T, s *screen, word string) string {
	t.Helper()

	for line := range strings.SplitSeq(s.frame(), "\n") {
		if strings.Contains(line, word) {
			return line
		}
	}

	require.Fail(t, "no line has "+word, s.frame())

	return ""
}

func TestQuit(t *testing.T) {
	t.Parallel()

	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"?", "q"}, {"f", "ctrl+c"}, {"2", "q"}} {
		require.True(t, newScreen(80, 24).press(keys...), "%v", keys)
	}

	require.False(t, newScreen(80, 24).press("x", "j", "enter"))
}

func TestRatesAreMadeBetweenSamples(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(sampleOf(fine()))
	require.Contains(t, lineWith(t, s, "captured/s"), "?", "one sample has no rate")

	s.send(sampleOf(later(fine(), 2, 500)))
	require.Regexp(t, `captured/s +250 `, s.frame())
	require.Regexp(t, `settled/s +250 `, s.frame())

	s.send(sampleOf(later(fine(), 60, 600)))
	require.Regexp(t, `captured/s +\? `, s.frame(), "nobody looked for a minute")
}

func TestViewsByNumberAndTab(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(sampleOf(fine()))

	for keys, shown := range map[string]string{"2": "[2 Partitions]", "3": "[3 Instances]", "4": "[4 Dead letters]", "1": "[1 Overview]"} {
		s.press(keys)
		require.Contains(t, s.frame(), shown)
	}

	s.press("1", "tab", "tab")
	require.Contains(t, s.frame(), "[3 Instances]")
	s.press("left")
	require.Contains(t, s.frame(), "[2 Partitions]")
	s.press("left", "left")
	require.Contains(t, s.frame(), "[4 Dead letters]", "round about")
}

func TestPartitionsAreSorted(t *testing.T) {
	t.Parallel()

	s := newScreen(120, 40)
	s.send(sampleOf(troubled(16, 3)))
	s.press("2")

	first := func() string { return strings.Split(s.frame(), "\n")[6] }
	require.Contains(t, first(), "FAILED")
	s.press("s")
	require.Regexp(t, `^> +0 `, first(), "by number")
	s.press("s", "s")
	require.Regexp(t, `^> +15 `, first(), "by lag")

	// The order stays when the next sample comes.
	s.send(sampleOf(later(troubled(16, 3), 1, 1)))
	require.Regexp(t, `^> +15 `, first())
}

func TestListsScroll(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(sampleOf(crowd(64, 50)))
	s.press("2", "s") // by number

	require.Contains(t, s.frame(), "1 to 11 of 64")
	s.press("end")
	require.Contains(t, s.frame(), "54 to 64 of 64")
	require.Regexp(t, `(?m)^> +63 `, s.frame())
	s.press("down", "down", "up")
	require.Regexp(t, `(?m)^> +62 `, s.frame(), "the end is the end")
	s.press("home", "up")
	require.Regexp(t, `(?m)^> +0 `, s.frame())
	s.press("pgdown")
	require.Regexp(t, `(?m)^> +12 `, s.frame())

	// A list that became shorter keeps its selection within.
	s.press("end")
	s.send(sampleOf(later(crowd(16, 3), 1, 1)))
	require.Regexp(t, `(?m)^> +15 `, s.frame())
}

func TestPauseKeepsWhatIsShown(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(sampleOf(fine()))
	s.press("p")
	s.send(sampleOf(later(fine(), 1, 1000)), top.Clock(noon().Add(time.Second)))
	require.Contains(t, s.frame(), "PAUSED at 15:00:00")
	require.Contains(t, s.frame(), "1234567890")

	s.press("space")
	require.NotContains(t, s.frame(), "PAUSED")
	require.Contains(t, s.frame(), "1234568890", "samples were taken meanwhile")
}

func TestDataStopsAndComesBack(t *testing.T) {
	t.Parallel()

	s := newScreen(120, 40)
	s.send(sampleOf(fine()), top.Clock(noon().Add(2*time.Second)))
	require.NotContains(t, s.frame(), "no data")

	s.send(top.Clock(noon().Add(time.Minute)))
	require.Contains(t, s.frame(), "no data since 12:00:00 (1m)", "also where nothing says why")

	s.send(top.Trouble{Flow: "atlas-to-local", Err: errAway()})
	require.Contains(t, s.frame(), "cannot be reached")
	require.Contains(t, s.frame(), "what is shown is of 15:00:00")

	s.send(timeline(), top.Sample{Flow: "atlas-to-local", Stats: later(fine(), 60, 10), At: noon().Add(time.Minute)})
	require.NotContains(t, s.frame(), "no data")
	require.Contains(t, s.frame(), "nothing needs a person")
}

// A service that was restarted has forgotten the last hour; the charts have not.
func TestChartsOutliveARestartOfTheService(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(timeline(), sampleOf(fine()))
	before := lineWith(t, s, "pending  ")
	require.Contains(t, before, "▃▄▄▅▅")

	s.send(top.Timeline{Flow: "atlas-to-local"})
	require.Equal(t, before, lineWith(t, s, "pending  "))

	short := timeline()
	short.Points = short.Points[590:]
	s.send(short)
	require.Contains(t, lineWith(t, s, "pending  "), "▃▄▄▅▅")
}

func TestChoosingAFlow(t *testing.T) {
	t.Parallel()

	s := newScreen(80, 24)
	s.send(top.Flows{"atlas-to-local", "edge", "local-to-atlas"}, sampleOf(fine()))
	s.press("f", "down", "down", "down", "enter")
	require.Equal(t, []string{"local-to-atlas"}, s.chosen)
	require.Contains(t, s.frame(), "...  local-to-atlas")
	require.Contains(t, s.frame(), "waiting for the first sample")
	require.NotContains(t, s.frame(), "1234567890", "of the flow before")

	// What was under way of the flow before is not shown.
	s.send(sampleOf(fine()), timeline(), groups(), top.Trouble{Flow: "atlas-to-local", Err: errAway()})
	require.Contains(t, s.frame(), "waiting for the first sample")

	other := fine()
	other.Flow = "local-to-atlas"
	s.send(top.Sample{Flow: "local-to-atlas", Stats: other, At: noon()})
	require.Contains(t, s.frame(), "OK  local-to-atlas")

	s.press("f", "enter")
	require.Len(t, s.chosen, 1, "it is followed already")
	s.press("f", "esc", "2")
	require.Contains(t, s.frame(), "[2 Partitions]")
}

// Whatever is pressed whenever: there is a frame of the right size.
func TestEveryKeyAtAnyTime(t *testing.T) {
	t.Parallel()

	keys := []string{"1", "2", "3", "4", "tab", "s", "w", "p", "f", "?", "j", "k", "G", "g", "pgdown", "enter", "esc", "left", "x"}

	for _, message := range []any{nil, sampleOf(new(relayv1.Stats)), sampleOf(fine()), top.Trouble{Flow: "atlas-to-local", Err: errAway()}} {
		for _, first := range keys {
			for _, second := range keys {
				s := newScreen(80, 24)
				if message != nil {
					s.send(message)
				}

				s.press(first, second)
				require.Len(t, strings.Split(s.frame(), "\n"), 24, "%s %s", first, second)
			}
		}
	}
}

// 64 partitions and 50 instances are drawn well within the 100 ms that a key may take.
func BenchmarkFrame(b *testing.B) {
	s := newScreenWith(120, 40, top.Options{Color: true})
	s.send(timeline(), sampleOf(troubled(64, 50)))
	s.press("2")

	for b.Loop() {
		s.press("j")
		_ = s.frame()
	}
}
