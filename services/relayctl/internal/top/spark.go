package top

import (
	"strconv"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// steps are the times that one bar of a chart may stand for.
func steps() []time.Duration {
	const short, usual = time.Second, 5 * time.Second

	return []time.Duration{usual, time.Minute, short}
}

// spark draws one bar for each value, from nothing to the highest one; what is unknown has no bar.
func spark(values []*float64, ascii bool) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	if ascii {
		bars = []rune("_.:-=+*#")
	}

	top := highest(values)

	var text strings.Builder

	for _, v := range values {
		switch {
		case v == nil:
			text.WriteByte(' ')
		case top == nil || *top == 0:
			text.WriteRune(bars[0])
		default:
			text.WriteRune(bars[min(len(bars)-1, int(*v / *top * float64(len(bars)-1) + 0.999))])
		}
	}

	return text.String()
}

// highest is nil when all are unknown.
func highest(values []*float64) *float64 {
	var top *float64

	for _, v := range values {
		if v != nil && (top == nil || *v > *top) {
			top = v
		}
	}

	return top
}

// rate is a number of events per second.
func rate(v *float64) string {
	const few = 10

	switch {
	case v == nil:
		return show.Absent
	case *v > 0 && *v < few:
		return strconv.FormatFloat(*v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
}

func count(v *float64) string {
	if v == nil {
		return show.Absent
	}

	return strconv.FormatFloat(*v, 'f', 0, 64)
}

func seconds(v *float64) string {
	if v == nil {
		return show.Absent
	}

	return show.Compact(time.Duration(*v * float64(time.Second)))
}
