package janitor_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/janitor"
)

// view is a healthy flow of 2 partitions whose stream holds 1 to 1000, full to a half.
func view(change func(*janitor.View)) *janitor.View {
	v := &janitor.View{
		StreamID: "s", Partitions: 2, Generation: 3, First: 1, Last: 1000, Messages: 1000, Bytes: 50_000, MaxBytes: 100_000, Marker: 990,
		Reports: []janitor.Report{
			{Partition: 0, Epoch: 7, StreamID: "s", Generation: 3, Sequence: 800},
			{Partition: 1, Epoch: 9, StreamID: "s", Generation: 3, Sequence: 900},
		},
	}
	if change != nil {
		change(v)
	}

	return v
}

func TestDecide(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		change    func(*janitor.View)
		margin    uint64
		keepFrom  uint64
		forbidden string
		heldBy    string
	}{
		"the margin behind the lowest checkpoint stays": {margin: 100, keepFrom: 701, heldBy: "partition 0"},
		"no margin":                              {keepFrom: 801, heldBy: "partition 0"},
		"a margin above half of what fits":       {margin: 5000, heldBy: "partition 0"}, // 1000 of the 2000 that fit
		"half of what fits, in larger messages":  {margin: 5000, change: func(v *janitor.View) { v.Bytes = 80_000 }, keepFrom: 176, heldBy: "partition 0"},
		"an unlimited stream":                    {margin: 5000, change: func(v *janitor.View) { v.MaxBytes = 0 }, heldBy: "partition 0"},
		"not worth it":                           {margin: 100, change: func(v *janitor.View) { v.First = 700 }, heldBy: "partition 0"},
		"worth it because room is wanted":        {margin: 100, change: func(v *janitor.View) { v.First, v.MaxBytes = 700, 50_001 }, keepFrom: 701, heldBy: "partition 0"},
		"the newest marker stays":                {change: func(v *janitor.View) { v.Marker = 500 }, keepFrom: 500, heldBy: "the newest marker, message 500"},
		"the marker is all there is":             {change: func(v *janitor.View) { v.Marker = 1 }, heldBy: "the newest marker, message 1"},
		"everything applied, the marker is last": {change: func(v *janitor.View) { v.Marker = 1000; v.Reports[0].Sequence = 1000; v.Reports[1].Sequence = 1000 }, keepFrom: 1000, heldBy: "the newest marker, message 1000"},

		"no report":            {change: func(v *janitor.View) { v.Reports = v.Reports[:1] }, forbidden: "partition 1: no processor reports"},
		"not acquired":         {change: func(v *janitor.View) { v.Reports[1].Epoch = 0 }, forbidden: "partition 1: no processor reports"},
		"too old":              {change: func(v *janitor.View) { v.Reports[1].Age = janitor.MaxAge + 1 }, forbidden: "partition 1: its report is older than 1m0s"},
		"another stream":       {change: func(v *janitor.View) { v.Reports[0].StreamID = "x" }, forbidden: `partition 0: its checkpoint belongs to stream id "x"`},
		"an old processor":     {change: func(v *janitor.View) { v.Reports[0].StreamID = "" }, forbidden: `partition 0: its checkpoint belongs to stream id ""`},
		"before a rewind":      {change: func(v *janitor.View) { v.Reports[0].Generation = 2 }, forbidden: "partition 0: its checkpoint is of generation 2"},
		"the stream went back": {change: func(v *janitor.View) { v.Reports[0].Sequence = 1001 }, forbidden: "the stream ends at 1000"},
		"no message":           {change: func(v *janitor.View) { v.Reports[0].Sequence = 0 }, forbidden: "names no message"},
		"the marker is gone":   {change: func(v *janitor.View) { v.First = 995 }, forbidden: "the newest marker is message 990"},
		"the stream is empty":  {change: func(v *janitor.View) { v.First, v.Last, v.Marker = 0, 0, 0 }, forbidden: "the newest marker is message 0"},

		"a stale owner that is behind": {
			change: func(v *janitor.View) {
				v.Reports = append(v.Reports, janitor.Report{Partition: 0, Epoch: 6, Sequence: 1, StreamID: "s", Generation: 3})
			},
			keepFrom: 801, heldBy: "partition 0",
		},
		"a stale owner that is ahead and fresher": {
			change: func(v *janitor.View) {
				v.Reports[0].Age = 2 * janitor.MaxAge
				v.Reports = append(v.Reports, janitor.Report{Partition: 0, Epoch: 6, Sequence: 999, StreamID: "s", Generation: 3})
			},
			forbidden: "partition 0: its report is older",
		},
		"two of one epoch": {
			change: func(v *janitor.View) {
				v.Reports = append(v.Reports, janitor.Report{Partition: 0, Epoch: 7, Sequence: 300, StreamID: "s", Generation: 3})
			},
			keepFrom: 301, heldBy: "partition 0",
		},
		"one that waits for a rewind holds while there is room": {
			change: func(v *janitor.View) { v.Reports[0].Rewinding, v.Reports[0].Sequence = true, 10 }, keepFrom: 11, heldBy: "partition 0",
		},
		"and not when room is wanted": {
			change: func(v *janitor.View) { v.Reports[0].Rewinding, v.Reports[0].Sequence, v.Bytes = true, 10, 90_000 }, keepFrom: 901, heldBy: "partition 1",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			d := janitor.Decide(view(test.change), test.margin)
			require.Equal(t, test.keepFrom, d.KeepFrom)
			require.Equal(t, test.heldBy, d.HeldBy)

			if test.forbidden == "" {
				require.Empty(t, d.Forbidden)
			} else {
				require.Contains(t, d.Forbidden, test.forbidden)
				require.Zero(t, d.KeepFrom)
			}
		})
	}
}

// TestRandomFlows lets streams fill, partitions apply and owners change at random. Nothing that is not applied is ever
// purged, the last marker stays, and once everything is applied a full stream has room again.
func TestRandomFlows(t *testing.T) {
	t.Parallel()

	seed := rand.Uint64()

	if given := os.Getenv("JANITOR_SEED"); given != "" {
		var err error

		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}

	t.Logf("JANITOR_SEED=%d", seed)

	for run := range uint64(500) {
		m := &model{t: t, r: rand.New(rand.NewPCG(seed, run))}
		m.run()
	}
}

type message struct {
	size      uint64
	marker    bool
	partition int
}

// model is a stream, its partitions and what their processors reported.
type model struct {
	t *testing.T
	r *rand.Rand

	margin   uint64
	max      uint64
	messages []message // all there ever were; index + 1 is the sequence
	first    uint64
	bytes    uint64
	since    uint64 // bytes since the last marker
	marker   uint64
	applied  []uint64 // per partition
	epochs   []uint64
	reports  []janitor.Report
}

func (m *model) run() {
	m.first, m.margin, m.max = 1, m.r.Uint64N(200), 2000+m.r.Uint64N(20_000)
	partitions := 1 + m.r.IntN(5)
	m.applied, m.epochs = make([]uint64, partitions), make([]uint64, partitions)

	require.True(m.t, m.store(message{size: 50, marker: true}))

	for p := range partitions {
		m.applied[p], m.epochs[p] = 1, 1
	}

	for range 400 {
		switch m.r.IntN(10) {
		case 0:
			m.look()
		case 1:
			m.epochs[m.r.IntN(partitions)]++ // another owner; the last one's report stays
		case 2, 3:
			m.report(m.r.IntN(partitions))
		case 4, 5:
			m.apply(m.r.IntN(partitions), m.r.Uint64N(30))
		default:
			m.publish()
		}
	}

	m.fill()

	for p := range partitions {
		m.apply(p, ^uint64(0))
		m.report(p)
	}

	m.look()
	require.True(m.t, m.store(message{size: 100}), "there is no room after everything was applied")
}

// publish is a listener, which makes a marker after an eighth of the stream.
func (m *model) publish() bool {
	if m.since > m.max/8 {
		return m.store(message{size: 50, marker: true})
	}

	return m.store(message{size: 20 + m.r.Uint64N(80), partition: m.r.IntN(len(m.applied))})
}

func (m *model) fill() {
	for m.publish() {
	}
}

func (m *model) last() uint64 { return uint64(len(m.messages)) }

func (m *model) store(added message) bool {
	if m.bytes+added.size > m.max {
		return false
	}

	m.messages = append(m.messages, added)
	m.bytes += added.size
	m.since += added.size

	if added.marker {
		m.marker, m.since = m.last(), 0
	}

	return true
}

// apply brings a partition at most n messages further: to one of its own or to a marker.
func (m *model) apply(p int, n uint64) {
	for s := m.applied[p] + 1; s <= m.last() && s-m.applied[p] <= n; s++ {
		require.GreaterOrEqual(m.t, s, m.first, "message %d was purged before partition %d had applied it", s, p)

		if it := m.messages[s-1]; it.marker || it.partition == p {
			n -= min(n, s-m.applied[p])
			m.applied[p] = s
		}
	}
}

func (m *model) report(p int) {
	m.reports = append(m.reports, janitor.Report{Partition: p, Epoch: m.epochs[p], StreamID: "s", Sequence: m.applied[p]})
	// A processor overwrites its own.
	for i := range len(m.reports) - 1 {
		if m.reports[i].Partition == p && m.reports[i].Epoch == m.epochs[p] {
			m.reports[i] = m.reports[len(m.reports)-1]
			m.reports = m.reports[:len(m.reports)-1]

			return
		}
	}
}

func (m *model) look() {
	reports := append([]janitor.Report(nil), m.reports...)
	m.r.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })

	d := janitor.Decide(&janitor.View{
		StreamID: "s", Partitions: len(m.applied), First: m.first, Last: m.last(), Messages: m.last() - m.first + 1,
		Bytes: m.bytes, MaxBytes: m.max, Marker: m.marker, Reports: reports,
	}, m.margin)

	if d.KeepFrom == 0 {
		return
	}

	require.Empty(m.t, d.Forbidden)
	require.Greater(m.t, d.KeepFrom, m.first)
	require.LessOrEqual(m.t, d.KeepFrom, m.marker, "the last marker")

	for p, applied := range m.applied {
		require.LessOrEqual(m.t, d.KeepFrom, applied+1, "partition %d", p)
	}

	for ; m.first < d.KeepFrom; m.first++ {
		m.bytes -= m.messages[m.first-1].size
	}
}

func TestTight(t *testing.T) {
	t.Parallel()

	require.False(t, (&janitor.View{Bytes: 1 << 40}).IsTight(), "unlimited")
	require.False(t, (&janitor.View{Bytes: 87, MaxBytes: 100}).IsTight())
	require.True(t, (&janitor.View{Bytes: 88, MaxBytes: 100}).IsTight())
	require.Equal(t, time.Minute, janitor.MaxAge)
}
