package show

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// Difference is a document that differs, on one line; its values, where there are any, below.
func Difference(d verify.Difference) string {
	var text strings.Builder

	what := string(d.Kind)
	if d.Cause == verify.Unknown {
		what = string(verify.Unknown)
	}

	fmt.Fprintf(&text, "%-15s  %s  %s", what, d.Namespace, d.ID)

	if d.Field != "" {
		text.WriteString("  at " + d.Field)
	}

	if d.Letter != "" {
		fmt.Fprintf(&text, "  (%s %s)", d.Cause, d.Letter)
	}

	text.WriteByte('\n')
	writeSides(&text, d.Source, d.Target)

	return text.String()
}

// definition is one that differs, on one line; what the sides have is below.
func definition(d *verify.CatalogDifference) string {
	var text strings.Builder

	what := string(d.Kind)
	if d.Cause == verify.Unknown {
		what = string(verify.Unknown)
	}

	fmt.Fprintf(&text, "%-15s  %s  %s", what, d.Namespace, strings.TrimSpace(d.What+" "+d.Name))

	if d.Field != "" {
		text.WriteString("  at " + d.Field)
	}

	text.WriteByte('\n')
	writeSides(&text, d.Source, d.Target)

	return text.String()
}

func writeSides(text *strings.Builder, source, target string) {
	for _, value := range []struct{ side, text string }{{"source", source}, {"target", target}} {
		if value.text != "" {
			fmt.Fprintf(text, "  %s: %s\n", value.side, value.text)
		}
	}
}

// Report prints the result of a verification whose differences were printed before.
func Report(w io.Writer, r *verify.Report) error {
	var text strings.Builder

	for i := range r.Catalog {
		text.WriteString(definition(&r.Catalog[i]))
	}

	for _, note := range r.Notes {
		fmt.Fprintf(&text, "note: %s\n", note)
	}

	t := r.Totals
	fmt.Fprintf(&text, "%s  %s\n", strings.ToUpper(string(r.Outcome)), r.Flow)
	fmt.Fprintf(&text, "  %d documents (%s) in %d namespaces, %s\n",
		t.Documents, size(uint64(t.Bytes)), t.Namespaces, r.Ended.Sub(r.Began).Round(100*time.Millisecond)) //nolint:gosec // never negative
	fmt.Fprintf(&text, "  differences %d (%d explained), not settled %d, definitions %d; read again %d\n",
		t.Differences, t.Explained, t.NotSettled, len(r.Catalog), t.Suspects)

	if !r.Complete {
		text.WriteString("  stopped there: --max-differences\n")
	}

	if r.Paused != "" {
		fmt.Fprintf(&text, "  %s: what is not applied because of that cannot settle\n", plainText(r.Paused))
	}

	if next := nextOf(r); next != "" {
		fmt.Fprintf(&text, "  next: %s\n", next)
	}

	_, err := io.WriteString(w, text.String())

	return err
}

func nextOf(r *verify.Report) string {
	switch {
	case r.Paused != "" && r.Outcome != verify.Equal:
		return "relayctl flow resume, with --namespace for what is paused by its name; then relayctl verify again"
	case r.Totals.Explained > 0:
		return "relayctl dead-letters list, and dead-letters replay"
	case r.Totals.Differences > 0, len(r.Catalog) > 0:
		return "relayctl status names gaps and changes that were not applied; copy or define anew what differs"
	case r.Totals.NotSettled > 0:
		return "relayctl status says whether the flow moves; then run relayctl verify again"
	default:
		return ""
	}
}

// Progress tells a person how far a verification is: on one line of a terminal, elsewhere by a line now and then.
type Progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	shown bool // the terminal's line is there
	last  time.Time
}

// NewProgress returns one that writes to w.
func NewProgress(w io.Writer, terminal bool) *Progress { return &Progress{w: w, terminal: terminal} }

// lineEvery is how often a line is written where there is no terminal.
const lineEvery = 30 * time.Second

// Show tells it.
func (p *Progress) Show(s verify.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()

	now := time.Now()

	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", progressLine(s, now))
		p.shown = true
	case p.last.IsZero() || now.Sub(p.last) >= lineEvery:
		fmt.Fprintln(p.w, progressLine(s, now))
		p.last = now
	}
}

// Clear removes the terminal's line, so that something else can be written.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func progressLine(s verify.Snapshot, now time.Time) string {
	share := absent

	// Not 100 before it is done: the number of documents is an estimate.
	if s.Estimated > 0 {
		share = fmt.Sprintf("%d %%", min(99, s.Documents*100/s.Estimated))
	}

	if s.Done == s.Ranges {
		share = "100 %"
	}

	perSecond := float64(s.Documents-s.Before) / max(now.Sub(s.Began).Seconds(), 1)
	line := fmt.Sprintf("%s: %d documents of about %d, %.0f/s, parts done %d of %d, differences %d",
		share, s.Documents, s.Estimated, perSecond, s.Done, s.Ranges, s.Differences)

	if s.Waiting > 0 {
		line += fmt.Sprintf(", waiting for the flow to pass %d documents", s.Waiting)
	}

	if left := s.Estimated - s.Documents; left > 0 && perSecond >= 1 {
		line += ", left " + time.Duration(float64(left)/perSecond*float64(time.Second)).Round(time.Second).String()
	}

	return line
}
