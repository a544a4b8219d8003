package views

import (
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
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

// hangs is how long relayctl top may take to end when it is asked to.
const hangs = 2 * time.Minute

// readTop keeps a relayctl top and looks at it whenever something has changed there. It ends with ctx.
func (v *Views) readTop(ctx context.Context) error {
	cmd := v.relayctl(context.WithoutCancel(ctx), "top") // it is asked to quit

	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: topRows, Cols: topColumns})
	if err != nil {
		return err
	}

	s := &screen{drawn: vt.NewEmulator(topColumns, topRows)}

	var following sync.WaitGroup

	following.Go(func() { s.follow(terminal) })

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	ticker := time.NewTicker(settled / 2) //nolint:mnd // it is seen in time
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
			if text, isNew := s.look(); isNew {
				v.addScreen(text)
			}
		case <-ctx.Done():
			late := time.AfterFunc(hangs, func() { _ = cmd.Process.Kill() })
			_, _ = terminal.WriteString("q")
			err = <-ended

			late.Stop()

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

// numbersOfTop are where they stand in the overview.
var numbersOfTop = map[string]*regexp.Regexp{ //nolint:gochecknoglobals // a constant list
	factTotal:                  regexp.MustCompile(`(?m)^  total +(\S+) +dead letters`),
	factDead:                   regexp.MustCompile(`(?m)^  total .* dead letters +(\S+)`),
	factPrefixed + "processed": regexp.MustCompile(`(?m)^  processed +(\S+) +parked`),
	factPrefixed + "failed":    regexp.MustCompile(`(?m)^  failed +(\S+) +in work`),
	factPrefixed + "skipped":   regexp.MustCompile(`(?m)^  skipped +(\S+) +batches`),
	factPending:                regexp.MustCompile(`(?m)^  pending +(\S+) +capture lag`),
}

// addScreen adds what a person reads at the terminal. Before the first sample, and while none comes, that is not of the
// flow.
func (v *Views) addScreen(text string) {
	lines := strings.Split(text, "\n")
	if len(lines) < 2 || strings.Contains(lines[1], "no data since") || strings.Contains(lines[1], "waiting for the first sample") {
		return
	}

	status, _, _ := strings.Cut(lines[0], " ")
	facts := map[string]string{FactStatus: status}

	if !strings.Contains(lines[1], "nothing needs a person") {
		facts[FactReasons] = lines[1]

		for _, line := range lines[2:] {
			if strings.HasPrefix(line, "  also: ") || strings.HasPrefix(line, "  unknown because ") {
				facts[FactReasons] += "\n" + line
			}
		}
	}

	for fact, where := range numbersOfTop {
		found := where.FindStringSubmatch(text)
		if found == nil {
			return // another screen, or none yet
		}

		facts[fact] = strings.ReplaceAll(found[1], "?", Unknown)
	}

	v.mu.Lock()
	defer v.mu.Unlock()

	v.screens = append(v.screens, Look{View: Top, Facts: facts, Seen: time.Now()})
}
