package top

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// paint puts a style on a text; without colours it leaves it as it is.
type paint func(string) string

type style struct {
	good, warn, bad, dim, bold, selected paint
}

func plain(s string) string { return s }

func newStyle(color bool) style {
	if !color {
		return style{plain, plain, plain, plain, plain, plain}
	}

	of := func(s lipgloss.Style) paint { return func(text string) string { return s.Render(text) } }

	return style{
		good:     of(lipgloss.NewStyle().Foreground(lipgloss.Green)),
		warn:     of(lipgloss.NewStyle().Foreground(lipgloss.Yellow)),
		bad:      of(lipgloss.NewStyle().Foreground(lipgloss.Red)),
		dim:      of(lipgloss.NewStyle().Faint(true)),
		bold:     of(lipgloss.NewStyle().Bold(true)),
		selected: of(lipgloss.NewStyle().Reverse(true)),
	}
}

// ofState is the colour of a state of a partition or an instance.
func (s *style) ofState(state string) paint {
	switch state {
	case "FAILED", "HISTORY_LOST", "NO_OWNER":
		return s.bad
	case "APPLYING", "STREAMING":
		return s.good
	case "STANDBY":
		return plain
	default:
		return s.warn
	}
}

func (s *style) ofStatus(status string) paint {
	switch status {
	case "OK":
		return s.good
	case "DEGRADED", "UNKNOWN":
		return s.warn
	case "...":
		return s.dim
	default:
		return s.bad
	}
}

func width(s string) int { return ansi.StringWidth(s) }

// fit cuts a text without styles to a width, never within a number: half of one is another number.
func fit(text string, most int) string {
	if width(text) <= most {
		return text
	}

	if most < 1 {
		return ""
	}

	runes := []rune(ansi.Truncate(text, most-1, ""))
	whole := []rune(text)

	isDigit := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	if n := len(runes); n > 0 && isDigit(runes[n-1]) && isDigit(whole[n]) {
		for len(runes) > 0 && isDigit(runes[len(runes)-1]) {
			runes = runes[:len(runes)-1]
		}
	}

	return string(runes) + "…"
}

// pad fills a text up to a width, on its left for numbers.
func pad(text string, to int, right bool) string {
	blanks := strings.Repeat(" ", max(0, to-width(text)))
	if right {
		return blanks + text
	}

	return text + blanks
}

// between puts one text at the left end of a line and one at its right end; the left one gives way.
func between(left, right string, wide int) string {
	left = fit(left, wide-width(right)-1)

	return left + strings.Repeat(" ", max(1, wide-width(left)-width(right))) + right
}

// wrapped breaks a text at blanks into lines; what is too long for the last one is cut.
func wrapped(text string, wide, lines int) []string {
	var broken []string

	for line := range strings.SplitSeq(ansi.Wordwrap(text, wide, ""), "\n") {
		broken = append(broken, line)
	}

	if len(broken) > lines {
		rest := strings.Join(broken[lines-1:], " ")
		broken = append(broken[:lines-1], rest)
	}

	for i := range broken {
		broken[i] = fit(broken[i], wide)
	}

	return broken
}
