package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes, written as a plain number or with KiB, MiB, GiB or TiB.
type Bytes int64

// sizeUnits are tried in this order, the longest text first.
func sizeUnits() []struct {
	suffix string
	factor int64
} {
	return []struct {
		suffix string
		factor int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// UnmarshalText reads the written form. Decimal units (MB) are refused: nobody agrees on what they mean.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, factor := strings.TrimSpace(string(text)), int64(1)

	for _, unit := range sizeUnits() {
		if cut, found := strings.CutSuffix(number, unit.suffix); found {
			number, factor = strings.TrimSpace(cut), unit.factor

			break
		}
	}

	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/factor {
		return fmt.Errorf("%q is not a size", text)
	}

	*b = Bytes(n * factor)

	return nil
}

// String is the shortest exact written form.
func (b Bytes) String() string {
	for _, unit := range sizeUnits() {
		if n := int64(b); n != 0 && unit.factor > 1 && n%unit.factor == 0 {
			return strconv.FormatInt(n/unit.factor, 10) + unit.suffix
		}
	}

	return strconv.FormatInt(int64(b), 10)
}

// Durations is a comma list of durations, such as 1s,5s,15s.
type Durations []time.Duration

// UnmarshalText reads the comma list; blanks around an item are ignored.
func (d *Durations) UnmarshalText(text []byte) error {
	var list Durations

	for item := range strings.SplitSeq(string(text), ",") {
		duration, err := time.ParseDuration(strings.TrimSpace(item))
		if err != nil {
			return fmt.Errorf("%q is not a duration", item)
		}

		list = append(list, duration)
	}

	*d = list

	return nil
}

// String is the written form.
func (d Durations) String() string {
	items := make([]string, len(d))
	for i, duration := range d {
		items[i] = duration.String()
	}

	return strings.Join(items, ",")
}
