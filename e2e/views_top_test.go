package e2e_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// screen is a terminal as a person sees it: what programs write there is drawn by an emulator.
type screen struct {
	mu      sync.Mutex
	drawn   *vt.Emulator
	changed time.Time // when something was written last
	taken   time.Time // of changed, when the screen was looked at last
}

// settled is how long nothing may have been written, so that a frame is whole.
const settled = 80 * time.Millisecond

// look returns what stands there once it stands still, and whether that is new.
func (s *screen) look() (text string, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.changed.Equal(s.taken) || time.Since(s.changed) < settled {
		return "", false
	}

	s.taken = s.changed

	return s.drawn.String(), true
}

// follow draws what comes from the terminal, and answers what the program asks it, until both end.
func (s *screen) follow(terminal *os.File) {
	var answered sync.WaitGroup

	answered.Go(func() { _, _ = io.Copy(terminal, s.drawn) }) // ends with the emulator

	buffer := make([]byte, 1<<15)

	for {
		n, err := terminal.Read(buffer)

		s.mu.Lock()
		_, _ = s.drawn.Write(buffer[:n])
		s.changed = time.Now()
		s.mu.Unlock()

		if err != nil {
			break
		}
	}

	_ = s.drawn.Close()

	answered.Wait()
}

// Of the terminal with relayctl top: nothing is cut that is looked for.
const (
	topColumns = 220
	topRows    = 60
)

// readTop keeps a relayctl top and looks at it whenever something has changed there. It ends with ctx.
func (v *views) readTop(ctx context.Context) error {
	cmd := exec.Command(programs.Path(harness.Relayctl), "top", "--server", v.scenario.relay.GRPCAddr())
	cmd.Env = []string{"TERM=xterm-256color", "HOME=" + v.scenario.world.Dir}

	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: topRows, Cols: topColumns})
	if err != nil {
		return err
	}

	s := &screen{drawn: vt.NewEmulator(topColumns, topRows)}

	var following sync.WaitGroup

	following.Go(func() { s.follow(terminal) })

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	ticker := time.NewTicker(settled / 2)
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
			if text, isNew := s.look(); isNew {
				v.addScreen(text)
			}
		case <-ctx.Done():
			hangs := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
			_, _ = terminal.WriteString("q")
			err = <-ended

			hangs.Stop()

			_ = terminal.Close()

			following.Wait()

			return err
		case err = <-ended: // the service was away when it began
			_ = terminal.Close()

			following.Wait()

			return err
		}
	}
}

// sighting is a look at something that does not say of which sample it is.
type sighting struct {
	at time.Time
	look
}

// numbersOfTop are where they stand in the overview.
var numbersOfTop = map[string]*regexp.Regexp{
	factTotal:                  regexp.MustCompile(`(?m)^  total +(\S+) +dead letters`),
	factDead:                   regexp.MustCompile(`(?m)^  total .* dead letters +(\S+)`),
	factPrefixed + "processed": regexp.MustCompile(`(?m)^  processed +(\S+) +parked`),
	factPrefixed + "failed":    regexp.MustCompile(`(?m)^  failed +(\S+) +in work`),
	factPrefixed + "skipped":   regexp.MustCompile(`(?m)^  skipped +(\S+) +batches`),
	factPending:                regexp.MustCompile(`(?m)^  pending +(\S+) +capture lag`),
}

// addScreen adds what a person reads at the terminal. Before the first sample, and while none comes, that is not of the
// flow.
func (v *views) addScreen(text string) {
	lines := strings.Split(text, "\n")
	if len(lines) < 2 || strings.Contains(lines[1], "no data since") || strings.Contains(lines[1], "waiting for the first sample") {
		return
	}

	status, _, _ := strings.Cut(lines[0], " ")
	facts := map[string]string{factStatus: status}

	if !strings.Contains(lines[1], "nothing needs a person") {
		facts[factReasons] = lines[1]

		for _, line := range lines[2:] {
			if strings.HasPrefix(line, "  also: ") || strings.HasPrefix(line, "  unknown because ") {
				facts[factReasons] += "\n" + line
			}
		}
	}

	for fact, where := range numbersOfTop {
		found := where.FindStringSubmatch(text)
		if found == nil {
			return // another screen, or none yet
		}

		facts[fact] = strings.ReplaceAll(found[1], "?", unknown)
	}

	v.mu.Lock()
	defer v.mu.Unlock()

	v.screens = append(v.screens, sighting{time.Now(), look{viewTop, facts}})
}

// compareTop holds the terminal against the samples: no number goes back, none is ahead of what was ever told until then,
// and what stands there together is of one sample.
func (v *views) compareTop() {
	t := v.scenario.t
	t.Helper()

	v.mu.Lock()
	defer v.mu.Unlock()

	const late = time.Second // between the sample and the look at the screen, the other way round

	reached, ofOne := map[string]uint64{}, 0

	for _, s := range v.screens {
		for _, fact := range cumulative() {
			n, err := strconv.ParseUint(s.facts[fact], 10, 64)
			if err != nil {
				require.Equal(t, unknown, s.facts[fact], fact)

				continue
			}

			require.GreaterOrEqual(t, n, reached[fact], "%s of %v went back", fact, s)
			require.LessOrEqual(t, n, v.most(fact, s.at.Add(late)), "%s of %v was never told", fact, s)
			reached[fact] = n
		}

		if v.isOfASample(s) {
			ofOne++
		}
	}

	require.Greater(t, ofOne, 5, "the screen never agreed with a sample: %d looks", len(v.screens))
	t.Logf("relayctl top: %d looks, %d of them are of a sample that others told of too", len(v.screens), ofOne)
}

// most is the highest number that was told of samples until a moment.
func (v *views) most(fact string, until time.Time) (most uint64) {
	for at, looks := range v.looks {
		if time.UnixMicro(int64(at)).After(until) {
			continue
		}

		for _, l := range looks {
			if n, err := strconv.ParseUint(l.facts[fact], 10, 64); err == nil {
				most = max(most, n)
			}
		}
	}

	return most
}

// isOfASample tells whether some sample of the last seconds before has all the numbers and the status of the screen.
func (v *views) isOfASample(s sighting) bool {
	const before = 5 * time.Second

	for at, looks := range v.looks {
		if age := s.at.Sub(time.UnixMicro(int64(at))); age < 0 || age > before {
			continue
		}

		same := slices.ContainsFunc(looks, func(l look) bool {
			for fact, value := range s.facts {
				if other, told := l.facts[fact]; fact != factReasons && (!told || other != value) {
					return false
				}
			}

			return true
		})
		if same {
			return true
		}
	}

	return false
}
