package show

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Operation prints what became of an action on dead letters.
func Operation(w io.Writer, o *relayv1.DeadLetterOperation) error {
	var text strings.Builder

	row := func(name, value string) { fmt.Fprintf(&text, "%-14s %s\n", name, value) }

	row("operation", plainText(o.GetName()))
	row("action", plainText(fmt.Sprintf("%s by %s at %s", o.GetAction(), o.GetWho(), moment(o.GetTime()))))

	if o.GetWhy() != "" {
		row("why", plainText(o.GetWhy()))
	}

	row("for", plainText(o.GetSelection()))

	if outcome := o.GetOutcome(); outcome != nil {
		row("changed", fmt.Sprintf("%d of %d", outcome.GetChanged(), outcome.GetMatched()))
	}

	for _, part := range []struct {
		name string
		n    uint64
	}{
		{"waiting", o.GetWaiting()},
		{"applied", o.GetApplied()},
		{"superseded", o.GetSuperseded()},
		{"discarded", o.GetDiscarded()},
		{"changed again", o.GetActedOnAgain()},
		{"failed again", o.GetFailedAgain()},
	} {
		if part.n > 0 {
			row(part.name, strconv.FormatUint(part.n, 10))
		}
	}

	for _, l := range o.GetFailures() {
		fmt.Fprintf(&text, "failed again: %s: %s (code %d)\n", plainText(l.GetName()), plainText(l.GetError()), l.GetErrorCode())
	}

	if more := o.GetFailedAgain() - min(o.GetFailedAgain(), uint64(len(o.GetFailures()))); more > 0 {
		fmt.Fprintf(&text, "failed again: %d more; relayctl dead-letters list --limit 0 --operation %s\n", more, plainText(o.GetName()))
	}

	switch {
	case o.GetFailedBecause() != "":
		row("ended early", plainText(o.GetFailedBecause())+"; the same command does the rest")
	case !o.GetDone():
		row("done", "not yet")
	}

	_, err := io.WriteString(w, text.String())

	return err
}

// Done tells whether nothing of the operations is under way any more.
func Done(operations []*relayv1.DeadLetterOperation) bool {
	return !slices.ContainsFunc(operations, func(o *relayv1.DeadLetterOperation) bool { return !o.GetDone() })
}

// OperationProgress tells a person how far operations are: on one line of a terminal, elsewhere by a line now and then.
type OperationProgress struct {
	w        io.Writer
	terminal bool

	shown bool // the terminal's line is there
	last  time.Time
}

// operationEvery is how often a line is written where there is no terminal.
const operationEvery = 5 * time.Second

// NewOperationProgress returns one that writes to w.
func NewOperationProgress(w io.Writer, terminal bool) *OperationProgress {
	return &OperationProgress{w: w, terminal: terminal}
}

// Show tells it.
func (p *OperationProgress) Show(operations []*relayv1.DeadLetterOperation) {
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", operationLine(operations))
		p.shown = true
	case p.last.IsZero() || time.Since(p.last) >= operationEvery:
		fmt.Fprintln(p.w, operationLine(operations))
		p.last = time.Now()
	}
}

// Say writes a line beside it.
func (p *OperationProgress) Say(text string) {
	p.Clear()
	fmt.Fprintln(p.w, text)
}

// Clear removes the terminal's line, so that something else can be written.
func (p *OperationProgress) Clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func operationLine(operations []*relayv1.DeadLetterOperation) string {
	var changed, waiting, failed uint64

	for _, o := range operations {
		changed += o.GetOutcome().GetChanged()
		waiting += o.GetWaiting()
		failed += o.GetFailedAgain()
	}

	if changed == 0 { // not recorded yet
		return fmt.Sprintf("%d waiting", waiting)
	}

	ended := changed - min(changed, waiting)

	// Not 100 before it is done.
	return fmt.Sprintf("%d %%: %d of %d, %d waiting, %d failed again", min(99, ended*100/changed), ended, changed, waiting, failed)
}
