package top

import (
	"fmt"
	"slices"
	"strings"
)

// column of a table. The last one takes what is left of the line and is cut where it must; all others are shown whole.
type column struct {
	title string
	right bool // for numbers
	rank  int  // the highest goes first where the terminal is narrow; 0 never
}

const (
	gap     = 2 // blanks between columns
	leastOf = 8 // the last column's least width
)

// table draws a header and as many rows as fit, such that the selected one is among them.
type table struct {
	columns []column
	rows    [][]string
	paints  []paint // of the rows' states, which are in column state
	state   int
	cursor  int
}

// lines draws the table in a room of this size; the last line says which rows these are.
func (t *table) lines(s *style, wide, high int) []string {
	shown := t.shown(wide)
	widths := t.widths(shown, wide)
	most := max(1, high-2) //nolint:mnd // header and last line
	begin := max(0, min(t.cursor-(most-1)/2, len(t.rows)-most))
	end := min(len(t.rows), begin+most)

	header := make([]string, len(t.columns))
	for i := range t.columns {
		header[i] = t.columns[i].title
	}

	lines := []string{s.dim("  " + t.line(header, shown, widths, nil))}

	for i := begin; i < end; i++ {
		if i == t.cursor {
			lines = append(lines, s.selected("> "+pad(t.line(t.rows[i], shown, widths, nil), wide-gap, false)))

			continue
		}

		lines = append(lines, "  "+t.line(t.rows[i], shown, widths, t.paints[i]))
	}

	for len(lines) < high-1 {
		lines = append(lines, "")
	}

	if len(t.rows) == 0 {
		return append(lines, "")
	}

	return append(lines, s.dim(fmt.Sprintf("  %d to %d of %d", begin+1, end, len(t.rows))))
}

// shown are the columns that there is room for.
func (t *table) shown(wide int) []int {
	shown := make([]int, len(t.columns))
	for i := range shown {
		shown[i] = i
	}

	for {
		needed := gap
		for _, i := range shown {
			needed += t.natural(i) + gap
		}

		worst := slices.MaxFunc(shown, func(a, b int) int { return t.columns[a].rank - t.columns[b].rank })
		if needed-gap <= wide || t.columns[worst].rank == 0 {
			return shown
		}

		shown = slices.DeleteFunc(shown, func(i int) bool { return i == worst })
	}
}

// natural is the width of a column that shows all there is; of the last one the least.
func (t *table) natural(i int) int {
	if i == len(t.columns)-1 {
		return leastOf
	}

	widest := width(t.columns[i].title)
	for _, row := range t.rows {
		widest = max(widest, width(row[i]))
	}

	return widest
}

// widths gives each column what it needs, and the last one what is left. Where that is too little for it although all
// columns that may go are gone, the widest text gives way.
func (t *table) widths(shown []int, wide int) []int {
	widths, last := make([]int, len(t.columns)), len(t.columns)-1
	left, widest := wide-gap, -1

	for _, i := range shown {
		if i == last {
			continue
		}

		widths[i] = t.natural(i)
		left -= widths[i] + gap

		if !t.columns[i].right && (widest < 0 || widths[i] > widths[widest]) {
			widest = i
		}
	}

	if left < leastOf && widest >= 0 {
		given := min(leastOf-left, max(0, widths[widest]-leastOf))
		widths[widest] -= given
		left += given
	}

	widths[last] = max(0, left)

	return widths
}

func (t *table) line(cells []string, shown, widths []int, state paint) string {
	var text strings.Builder

	for n, i := range shown {
		if n > 0 {
			text.WriteString("  ")
		}

		cell := pad(fit(cells[i], widths[i]), widths[i], t.columns[i].right)
		if i == len(t.columns)-1 {
			cell = strings.TrimRight(cell, " ")
		}

		if state != nil && i == t.state {
			cell = state(cell)
		}

		text.WriteString(cell)
	}

	return text.String()
}
