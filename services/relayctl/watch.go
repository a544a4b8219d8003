package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// leastInterval is the shortest time between two looks of --watch.
const leastInterval = 200 * time.Millisecond

// watching is what --watch and --interval say.
type watching struct {
	on       bool
	interval time.Duration
}

func (w *watching) addFlags(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVarP(&w.on, "watch", "w", false, what+" per interval until Ctrl-C; with -o json one object per line")
	cmd.Flags().DurationVar(&w.interval, "interval", time.Second, "time between two looks of --watch")
}

func (w *watching) check() error {
	if w.interval < leastInterval {
		return &refusedError{what: fmt.Sprintf("--interval %s is too short, the least is %s", w.interval, leastInterval), next: "give a longer one"}
	}

	return nil
}

// listing is an answer that can be shown.
type listing struct {
	message proto.Message
	text    func(io.Writer) error
	notes   func() // beside the text, where it is shown once; nil: none
}

// list shows an answer, with --watch again and again.
func (p *program) list(ctx context.Context, w *watching, ask func(context.Context) (*listing, error)) error {
	if !w.on {
		found, err := ask(ctx)
		if err != nil {
			return err
		}

		if p.output == outputJSON {
			return show.JSON(p.out, found.message)
		}

		if err := found.text(p.out); err != nil {
			return err
		}

		if found.notes != nil {
			found.notes()
		}

		return nil
	}

	if err := w.check(); err != nil {
		return err
	}

	return p.listAgain(ctx, w, ask)
}

// listAgain shows answers until the user ends it, which is no failure. A service that goes away after the first answer is
// waited for; what no waiting makes right ends it.
func (p *program) listAgain(ctx context.Context, w *watching, ask func(context.Context) (*listing, error)) error {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()

	s := &screen{program: p, interval: w.interval}

	for {
		found, err := ask(ctx)

		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			err = s.show(found)
		case s.began && errors.As(err, new(*unreachableError)):
			err = s.wait(err)
		}

		if err != nil {
			return err
		}

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screen shows one answer after the other: JSON as lines; text in the place of the one before on a terminal, below it
// elsewhere.
type screen struct {
	*program

	interval time.Duration
	began    bool // something was shown
	waits    bool // it was said that there is no answer
}

func (s *screen) show(found *listing) error {
	s.began, s.waits = true, false

	if s.output == outputJSON {
		return show.JSONLine(s.out, found.message)
	}

	var text bytes.Buffer
	if err := found.text(&text); err != nil {
		return err
	}

	if !s.isDrawable(s.out) {
		_, err := fmt.Fprintf(s.out, "# %s\n%s", time.Now().UTC().Format(time.RFC3339), text.String())

		return err
	}

	return s.draw(text.String())
}

// wait says, once, why there is no answer. On a terminal that takes the place of an answer that is of the past.
func (s *screen) wait(why error) error {
	if s.output == outputText && s.isDrawable(s.out) {
		return s.draw("no answer: " + why.Error() + "\n")
	}

	if !s.waits {
		s.waits = true
		fmt.Fprintf(s.err, "relayctl: %v; trying again\n", why)
	}

	return nil
}

// draw writes over what is there. What has no room is cut: a terminal that scrolls could not be written over.
func (s *screen) draw(text string) error {
	columns, rows := sizeOf(s.out)
	head := fmt.Sprintf("%s, every %s; Ctrl-C ends it", time.Now().Format(time.TimeOnly), s.interval)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")

	if room := max(1, rows-2); len(lines) > room { //nolint:mnd // the head, and the line that the cursor is left on
		hidden := len(lines) - room + 1
		lines = append(lines[:room-1], fmt.Sprintf("… %d lines more on a taller terminal", hidden))
	}

	var drawn strings.Builder

	drawn.WriteString("\x1b[H")

	for _, line := range append([]string{head}, lines...) {
		drawn.WriteString(ansi.Truncate(line, columns, "…") + resetStyle + "\x1b[K\n")
	}

	drawn.WriteString("\x1b[J")

	_, err := io.WriteString(s.out, drawn.String())

	return err
}

// resetStyle ends what a line that was cut has begun.
const resetStyle = "\x1b[0m"
