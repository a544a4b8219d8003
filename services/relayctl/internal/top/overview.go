package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

func (m *Model) overviewLines() []string {
	lines := append(m.charts(), m.numbers()...)
	lines = append(lines, "")
	lines = append(lines, m.strip()...)
	lines = append(lines, m.crew()...)

	for _, why := range m.stats.GetUnknownBecause() {
		lines = append(lines, m.style.warn(fit("  unknown because "+show.Printable(why), m.width)))
	}

	// The first one is in the head.
	if reasons := m.stats.GetReasons(); len(reasons) > 1 {
		for _, reason := range reasons[1:] {
			if !slices.Contains(m.stats.GetUnknownBecause(), reason) {
				lines = append(lines, fit("  also: "+show.Printable(reason), m.width))
			}
		}
	}

	for _, note := range m.stats.GetNotes() {
		lines = append(lines, fit("  note: "+show.Printable(note), m.width))
	}

	if most := m.bodyHeight(); len(lines) > most {
		lines[most-1] = m.style.dim(fmt.Sprintf("  and %d lines more on a taller terminal", len(lines)-most+1))
	}

	return lines
}

// chart is one line of a chart.
type chart struct {
	label string
	value string
	of    func(*point) *float64
	mean  bool
	text  func(*float64) string
}

func (m *Model) charts() []string {
	last := m.charted.last()
	charts := []chart{
		{"captured/s", rate(last.captured), func(p *point) *float64 { return p.captured }, true, rate},
		{"settled/s", rate(last.settled), func(p *point) *float64 { return p.settled }, true, rate},
		{"lag", show.Duration(m.stats.GetLag()), func(p *point) *float64 { return p.lag }, false, seconds},
		{"pending", show.Number(m.stats.PendingChanges), func(p *point) *float64 { return p.pending }, false, count},
	}

	const label = 13

	widest := 0
	for _, c := range charts {
		widest = max(widest, width(c.value))
	}

	const most = 14 // " max 123456789"

	bars := max(0, m.width-label-widest-most-2) //nolint:mnd // blanks on both sides
	step := steps()[m.step]

	// Where no samples come, time goes on all the same.
	end := last.at
	if !m.came.IsZero() && !m.paused {
		end = end.Add(max(0, m.now.Sub(m.came)))
	}

	lines := make([]string, 0, len(charts)+1)

	for _, c := range charts {
		values := m.charted.series(c.of, end, step, bars, c.mean)
		line := pad("  "+c.label, label, false) + pad(c.value, widest, true) + " " + spark(values, m.options.ASCII)

		if top := highest(values); top != nil {
			line += " max " + c.text(top)
		}

		lines = append(lines, fit(line, m.width))
	}

	whole := step * time.Duration(bars)

	return append(lines, m.style.dim(fit(strings.Repeat(" ", label+widest+1)+fmt.Sprintf("%s a bar, %s in all", show.Compact(step), show.Compact(whole)), m.width)))
}

// numbers are two columns of what the sample says.
func (m *Model) numbers() []string {
	s := m.stats

	rows := [][4]string{
		{"total", show.Number(s.TotalChanges), "dead letters", show.Number(s.DeadLetters)},
		{"processed", show.Number(s.ProcessedChanges), "parked", show.Number(s.ParkedChanges)},
		{"failed", show.Number(s.FailedChanges), "in work", show.InWork(s)},
		{"skipped", show.Number(s.SkippedChanges), "batches", show.Number(s.BatchesProcessed)},
		{"pending", show.Number(s.PendingChanges), "capture lag", show.Duration(s.GetCaptureLag())},
		{"sum", sum(s), "stream", show.Stream(s)},
		{"history", show.Printable(show.History(s)), "", ""},
	}

	widest := 0
	for _, row := range rows {
		if row[2] != "" {
			widest = max(widest, width(row[1]))
		}
	}

	lines := make([]string, 0, len(rows))

	for _, row := range rows {
		line := pad("  "+row[0], 13, false) //nolint:mnd // the longest label
		if row[2] == "" {
			line += row[1]
		} else {
			line += pad(row[1], widest, true) + "   " + pad(row[2], 14, false) + row[3] //nolint:mnd // the longest label
		}

		if row[0] == "sum" && s.AddsUp != nil && !s.GetAddsUp() {
			lines = append(lines, m.style.bad(fit(line, m.width)))

			continue
		}

		lines = append(lines, fit(line, m.width))
	}

	return lines
}

// sum is the verdict on the numbers in a few letters.
func sum(s *relayv1.Stats) string {
	if s.AddsUp == nil && !s.GetConsistent() && s.PendingChanges != nil {
		return "moving" // they changed while they were read
	}

	return show.Sum(s)
}

// letterOf is a partition in one letter.
func letterOf(state string) string {
	letters := map[string]string{
		"APPLYING": ".", "ACQUIRING": "a", "DRAINING": "d", "PAUSED": "P", "WAITING_REWIND": "W", "FAILED": "F", "NO_OWNER": "-",
	}

	if letter, found := letters[state]; found {
		return letter
	}

	return show.Absent
}

// strip is all partitions, one letter each in the order of their numbers, and how many are in each state.
func (m *Model) strip() []string {
	byNumber := slices.Clone(m.stats.GetPartitions())
	show.SortPartitions(byNumber, show.ByNumber)

	const label = 13

	room := max(1, m.width-label-1)
	lines, last := []string{}, 0 // the width of the last one

	for chunk := range slices.Chunk(byNumber, room) {
		var text strings.Builder

		for _, p := range chunk {
			state := show.PartitionState(p)
			text.WriteString(m.style.ofState(state)(letterOf(state)))
		}

		title := ""
		if len(lines) == 0 {
			title = "  partitions"
		}

		lines, last = append(lines, pad(title, label, false)+text.String()), label+len(chunk)
	}

	tally := m.tally()
	if n := len(lines); n > 0 && last+gap+width(tally) <= m.width {
		lines[n-1] += "  " + tally

		return lines
	}

	title := ""
	if len(lines) == 0 {
		title = "  partitions"
	}

	return append(lines, fit(pad(title, label, false)+tally, m.width))
}

// tally counts the partitions by state, those first that need attention.
func (m *Model) tally() string {
	list := slices.Clone(m.stats.GetPartitions())
	show.SortPartitions(list, show.ByAttention)

	if len(list) == 0 {
		return "none is known"
	}

	return countStates(list, show.PartitionState)
}

func countStates[T any](list []T, stateOf func(T) string) string {
	var (
		order  []string
		number = make(map[string]int)
	)

	for _, entry := range list {
		state := stateOf(entry)
		if number[state] == 0 {
			order = append(order, state)
		}

		number[state]++
	}

	for i, state := range order {
		order[i] = strconv.Itoa(number[state]) + " " + state
	}

	return strings.Join(order, ", ")
}

// crew counts the instances by role and state, on a line for each role where one has no room.
func (m *Model) crew() []string {
	if show.NobodyWasHeard(m.stats) {
		return []string{"  instances  " + show.Absent}
	}

	of := func(role relayv1.InstanceRole) string {
		var list []*relayv1.InstanceStats

		for _, i := range m.stats.GetInstances() {
			if i.GetRole() == role {
				list = append(list, i)
			}
		}

		if len(list) == 0 {
			return "none reports"
		}

		return countStates(list, show.InstanceState)
	}

	listeners := "  listeners  " + of(relayv1.InstanceRole_INSTANCE_ROLE_LISTENER)
	processors := "processors " + of(relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR)

	if line := listeners + "   " + processors; width(line) <= m.width {
		return []string{line}
	}

	return []string{fit(listeners, m.width), fit("  "+processors, m.width)}
}
