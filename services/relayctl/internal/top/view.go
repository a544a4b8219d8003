package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// The least terminal that anything is shown on.
const (
	leastWidth  = 40
	leastHeight = 12
)

// wideTabs is the terminal's width from which on the views have their whole names.
const wideTabs = 64

// headLines is what the lines above the body are: status, reason, next step, tabs, rule. One line of keys is below it.
const (
	headLines = 5
	footLines = 1
)

// View implements tea.Model.
func (m *Model) View() tea.View {
	v := tea.NewView(m.frame())
	v.AltScreen = true

	return v
}

// frame is the whole screen: as many lines as the terminal has, none longer than it is wide.
func (m *Model) frame() string {
	if m.width < leastWidth || m.height < leastHeight {
		return fit(fmt.Sprintf("at least %dx%d is needed; q quits", leastWidth, leastHeight), m.width)
	}

	lines := m.head()
	body := m.body()

	for len(body) < m.bodyHeight() {
		body = append(body, "")
	}

	lines = append(append(lines, body[:m.bodyHeight()]...), m.style.dim(fit(m.keys(), m.width)))
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], m.width, "") // no line is longer already; one that wrapped would shift all others
	}

	frame := strings.Join(lines, "\n")
	if m.options.ASCII {
		frame = strings.ReplaceAll(frame, "…", "~")
	}

	return frame
}

func (m *Model) bodyHeight() int { return m.height - headLines - footLines }

func (m *Model) head() []string {
	flow := m.flow
	if m.stats.GetFlow() != "" {
		flow = m.stats.GetFlow()
	}

	status := m.status()
	first := between(status+"  "+flow, m.clock(), m.width)
	first = m.style.ofStatus(status)(status) + strings.TrimPrefix(first, status)

	reason, next := m.reason()

	return []string{first, reason, next, m.tabs(), m.style.dim(strings.Repeat(m.rule(), m.width))}
}

func (m *Model) rule() string {
	if m.options.ASCII {
		return "-"
	}

	return "─"
}

// status is the answer to "is it fine?". While no samples come nobody knows.
func (m *Model) status() string {
	_, silent := m.silentSince()

	switch {
	case silent:
		return "UNKNOWN"
	case m.stats == nil:
		return "..."
	default:
		return show.StatusWord(m.stats.GetStatus())
	}
}

func (m *Model) clock() string {
	now := m.now.Local().Format(time.TimeOnly)
	if m.paused && m.stats != nil {
		return "PAUSED at " + m.stats.GetSampleTime().AsTime().Local().Format(time.TimeOnly) + "  " + now
	}

	if len(m.options.Server)+len(m.flow) > m.width/2 {
		return now
	}

	return m.options.Server + "  " + now
}

// reason is the two lines below the status: what is wrong, and what to do. That nothing comes any more is more important
// than what was the matter before.
func (m *Model) reason() (reason, next string) {
	since, silent := m.silentSince()

	switch {
	case silent:
		text := fmt.Sprintf("no data since %s (%s)", since.Local().Format(time.TimeOnly), show.Compact(m.now.Sub(since).Truncate(time.Second)))
		if m.trouble != nil {
			text += ": " + show.Printable(m.trouble.Error())
		}

		next := "trying again by itself"
		if m.stats != nil {
			next += fmt.Sprintf("; what is shown is of %s, when it was %s",
				m.stats.GetSampleTime().AsTime().Local().Format(time.TimeOnly), show.StatusWord(m.stats.GetStatus()))
		}

		return m.style.bad(fit("  "+text, m.width)), fit("  "+next, m.width)
	case m.stats == nil:
		return "  waiting for the first sample", ""
	case len(m.stats.GetReasons()) == 0:
		return m.style.dim("  nothing needs a person"), ""
	}

	reason = show.Printable(m.stats.GetReasons()[0])

	if more := len(m.stats.GetReasons()) - 1; more > 0 {
		return between("  "+reason, fmt.Sprintf("+%d more", more), m.width), fit("  next: "+show.Printable(m.stats.GetNextStep()), m.width)
	}

	return fit("  "+reason, m.width), fit("  next: "+show.Printable(m.stats.GetNextStep()), m.width)
}

// tabs are the views by number; brackets tell which one is shown where there are no colours.
func (m *Model) tabs() string {
	var text strings.Builder

	names := views()
	if m.width < wideTabs {
		names = []string{"Flow", "Parts", "Inst", "Dead"}
	}

	for i, name := range names {
		label := fmt.Sprintf("%d %s", i+1, name)
		if view(i) == letters && m.stats.GetDeadLetters() > 0 {
			label += " " + show.Number(m.stats.DeadLetters)
		}

		if view(i) == m.view {
			text.WriteString(m.style.bold("[" + label + "]"))
		} else {
			text.WriteString(" " + label + " ")
		}
	}

	return text.String()
}

func (m *Model) body() []string {
	switch {
	case m.help:
		return m.helpLines()
	case m.choosing:
		return m.flowLines()
	case m.stats == nil:
		return nil
	}

	switch m.view {
	case partitions:
		return m.partitionLines()
	case instances:
		return m.instanceLines()
	case letters:
		return m.letterLines()
	case overview:
	}

	return m.overviewLines()
}

func (m *Model) keys() string {
	if m.help {
		return "any key: back   q quit"
	}

	if m.choosing {
		return "j/k move   enter choose   esc back   q quit"
	}

	pause := "p pause"
	if m.paused {
		pause = "p go on"
	}

	own := "w chart"

	switch m.view {
	case partitions:
		own = "j/k move  s sort (" + orders()[m.order] + ")"
	case instances, letters:
		own = "j/k move"
	case overview:
	}

	return "q quit  ? help  1-4 tab views  " + own + "  " + pause + "  f flows"
}

func (*Model) helpLines() []string {
	return []string{
		"  q, Ctrl-C          quit",
		"  1 to 4, tab        views; shift-tab, left and right too",
		"  j k, down up       move in a list; page up and down, g and G for its ends",
		"  s                  order of the partitions: attention, number, pending, lag",
		"  w                  time that a bar of the charts stands for: 5s, 1m, 1s",
		"  p, space           pause what is shown; samples are taken on",
		"  f                  choose another flow of this stats service",
		"  ?                  this",
		"",
		"  Partitions, one letter each: . applying  a acquiring  d draining  P paused",
		"  W waiting for a rewind  F failed  - no owner  ? unknown",
		"",
		"  A ? is unknown, never 0; below the numbers is said why. A gap in a chart is",
		"  a time of which nothing is known.",
	}
}

func (m *Model) flowLines() []string {
	lines := []string{"  Flows of " + m.options.Server, ""}

	const above = 2

	begin := max(0, min(m.choice-m.bodyHeight()/2, len(m.flows)-(m.bodyHeight()-above)))

	for i := begin; i < len(m.flows); i++ {
		if i == m.choice {
			lines = append(lines, m.style.selected("> "+m.flows[i]))
		} else {
			lines = append(lines, "  "+m.flows[i])
		}
	}

	if len(m.flows) == 0 {
		lines = append(lines, "  not known yet")
	}

	return lines
}
