package top_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/top"
)

// scenes are screens by name; each begins with a fresh one.
func scenes() map[string]func(*screen) {
	begin := func(s *screen) {
		s.send(top.Flows{"atlas-to-local", "local-to-atlas"}, timeline(), top.Clock(noon()))
	}

	return map[string]func(*screen){
		"waiting":  func(s *screen) { s.send(top.Clock(noon().Add(time.Second))) },
		"fine":     func(s *screen) { begin(s); s.send(sampleOf(fine())) },
		"troubled": func(s *screen) { begin(s); s.send(sampleOf(troubled(64, 50)), groups()) },
		"unknown":  func(s *screen) { begin(s); s.send(sampleOf(unknown())) },
		"no data": func(s *screen) {
			begin(s)
			s.send(sampleOf(fine()), top.Trouble{Flow: "atlas-to-local", Err: errAway()}, top.Clock(noon().Add(4*time.Minute+55*time.Second)))
		},
		"partitions":                      func(s *screen) { begin(s); s.send(sampleOf(troubled(64, 50))); s.press("2", "j", "j") },
		"partitions of an unknown target": func(s *screen) { begin(s); s.send(sampleOf(unknown())); s.press("2") },
		"instances":                       func(s *screen) { begin(s); s.send(sampleOf(troubled(64, 50))); s.press("3") },
		"the last of the instances":       func(s *screen) { begin(s); s.send(sampleOf(troubled(64, 50))); s.press("3", "G") },
		"dead letters":                    func(s *screen) { begin(s); s.send(sampleOf(troubled(64, 50)), groups()); s.press("4", "down") },
		"dead letters unknown": func(s *screen) {
			begin(s)
			s.send(sampleOf(unknown()), top.Groups{Flow: "atlas-to-local", Err: errAway()})
			s.press("4")
		},
		"help":  func(s *screen) { begin(s); s.send(sampleOf(fine())); s.press("?") },
		"flows": func(s *screen) { begin(s); s.send(sampleOf(fine())); s.press("f", "down") },
		"paused": func(s *screen) {
			begin(s)
			s.send(sampleOf(fine()))
			s.press("p")
			s.send(top.Clock(noon().Add(2 * time.Second)))
		},
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()

	for name, play := range scenes() {
		for _, size := range []struct{ width, height int }{{80, 24}, {120, 40}} {
			s := newScreen(size.width, size.height)
			play(s)
			requireGolden(t, fmt.Sprintf("%s-%dx%d", strings.ReplaceAll(name, " ", "-"), size.width, size.height), s.frame()+"\n")
		}
	}
}

// On any terminal a frame has its size, nothing wraps, and every number is a whole one.
func TestFramesFit(t *testing.T) {
	t.Parallel()

	number := regexp.MustCompile(`\d+`)
	// What counts rows, bars or lines is different on every terminal.
	ofTheSize := regexp.MustCompile(`\d+ to \d+ of|a bar, .* in all|and \d+ lines more|at least \d+x\d+|max \S+`)

	for name, play := range scenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			huge := newScreen(400, 200)
			play(huge)

			whole := number.FindAllString(huge.frame(), -1)

			for width := 40; width <= 130; width += 11 {
				for _, height := range []int{12, 24, 40} {
					s := newScreen(width, height)
					play(s)

					lines := strings.Split(s.frame(), "\n")
					require.Len(t, lines, height, "%dx%d", width, height)

					for _, line := range lines {
						require.LessOrEqual(t, ansi.StringWidth(line), width, "%dx%d: %s", width, height, line)

						for _, shown := range number.FindAllString(ofTheSize.ReplaceAllString(line, ""), -1) {
							require.Contains(t, whole, shown, "%dx%d: %s", width, height, line)
						}
					}
				}
			}
		})
	}
}

func TestATerminalThatIsTooSmall(t *testing.T) {
	t.Parallel()

	s := newScreen(30, 5)
	s.send(sampleOf(fine()))
	require.Equal(t, "at least 40x12 is needed; q q…", s.frame())
	s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	require.Contains(t, s.frame(), "OK  atlas-to-local")
}

// Colours add nothing that letters do not say.
func TestColorsAreDecoration(t *testing.T) {
	t.Parallel()

	for name, play := range scenes() {
		plain, colored := newScreen(80, 24), newScreenWith(80, 24, top.Options{Color: true})
		play(plain)
		play(colored)

		require.NotContains(t, plain.frame(), "\x1b", name)
		require.Contains(t, colored.frame(), "\x1b[", name)
		require.Equal(t, trimmed(plain.frame()), trimmed(ansi.Strip(colored.frame())), name)
	}
}

func trimmed(frame string) string {
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(frame, "")
}

// A terminal whose locale has no other letters gets none.
func TestPlainLetters(t *testing.T) {
	t.Parallel()

	for name, play := range scenes() {
		s := newScreenWith(80, 24, top.Options{ASCII: true})
		play(s)

		for _, r := range s.frame() {
			require.Less(t, r, rune(128), "%s: %q", name, r)
		}
	}
}

// What others wrote cannot steer the terminal.
func TestTextOfOthersIsShownAsText(t *testing.T) {
	t.Parallel()

	evil := "\x1b[2J\nhello\t\x07"
	stats := troubled(64, 50)
	stats.Reasons[0], stats.NextStep = evil, evil
	stats.GetPartitions()[11].Reason, stats.GetInstances()[0].Reason = evil, evil
	stats.GetInstances()[1].Instance.Host = evil

	letters := groups()
	letters.Groups[0].Error = evil
	letters.Groups[0].Namespace.Collection = evil

	for _, key := range []string{"1", "2", "3", "4"} {
		s := newScreen(120, 40)
		s.send(sampleOf(stats), letters)
		s.press(key)
		require.NotContains(t, s.frame(), "\x1b")
		require.NotContains(t, s.frame(), "\x07")
		require.Len(t, strings.Split(s.frame(), "\n"), 40)
	}
}
