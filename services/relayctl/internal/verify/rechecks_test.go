package verify

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// simulated is a flow without servers: the source's document is written now and then, the flow applies a write some time
// later, and a damaged target never has what it should.
type simulated struct {
	r       *rand.Rand
	tick    uint32
	writes  []uint32 // ticks at which the document got a new version
	lag     uint32   // of applying
	captive uint32   // lag of capturing, not above lag
	quiet   uint32   // from this tick on nobody writes
	damaged bool
	stands  bool // the flow does not move
	busy    bool // every tick has a write
}

func version(n int) digest {
	d := digest{exists: n > 0}
	d.sum[0], d.sum[1] = byte(n), byte(n>>8)

	return d
}

func (s *simulated) step() {
	s.tick++

	if s.busy || s.tick < s.quiet && s.r.IntN(4) == 0 {
		s.writes = append(s.writes, s.tick)
	}
}

func (s *simulated) at(tick uint32) int {
	n := 0
	for _, w := range s.writes {
		if w <= tick {
			n++
		}
	}

	return n
}

func (s *simulated) source() digest { return version(s.at(s.tick)) }

func (s *simulated) target() digest {
	if s.damaged {
		return version(1 << 12)
	}

	return version(s.at(s.applied()))
}

func (s *simulated) applied() uint32 {
	if s.stands {
		return 0
	}

	return s.tick - min(s.tick, s.lag)
}

func (s *simulated) now() bson.Timestamp { return bson.Timestamp{T: s.tick} }

func (s *simulated) progress() Progress {
	p := Progress{Captured: bson.Timestamp{T: s.tick - min(s.tick, s.captive)}, Partitions: make([]Applied, 2)}

	// A partition's position is that of its last event; only when it has all can it be beyond.
	for _, w := range s.writes {
		if w <= s.applied() {
			p.Partitions[1].Position = event.Position{T: w}
		}
	}

	p.Partitions[1].All = s.at(s.applied()) == s.at(s.tick)

	return p
}

// verdict runs one suspect to its end.
func (s *simulated) verdict(rechecks *Rechecks) string {
	suspect := &Suspect{Partition: 1}
	start := time.Unix(0, 0)
	rechecks.Add(suspect, start)

	for range 10_000 {
		s.step()

		now := start.Add(time.Duration(s.tick) * time.Second)

		for _, fresh := range rechecks.Fresh() {
			rechecks.Based(fresh, s.source(), s.now())
		}

		p := s.progress()

		for _, due := range rechecks.Due(&p) {
			target := s.target()

			for range s.r.IntN(3) {
				s.step()
			}

			switch rechecks.Judge(due, target, s.source(), s.now()) {
			case Same:
				return "same"
			case Differs:
				return "differs"
			default:
			}
		}

		if len(rechecks.Unsettled(now)) > 0 {
			return "unsettled"
		}
	}

	return "no end"
}

// TestRechecksAreNeverWrong over random schedules: a healthy flow never makes a difference, a damaged document always is
// one once the source rests, and a flow that stands still is not settled.
func TestRechecksAreNeverWrong(t *testing.T) {
	t.Parallel()

	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 2))
		lag := uint32(r.IntN(30))
		s := &simulated{r: r, lag: lag, captive: uint32(r.IntN(int(lag) + 1)), quiet: uint32(r.IntN(400)), damaged: seed%3 == 1, stands: seed%3 == 2}
		s.writes = []uint32{1}
		s.tick = 1 + uint32(r.IntN(50))

		rechecks := &Rechecks{Rounds: 1 + r.IntN(3), Patience: 2000 * time.Second}
		got := s.verdict(rechecks)

		switch {
		case s.stands:
			require.NotEqual(t, "differs", got, "seed %d", seed)
		case s.damaged:
			require.Equal(t, "differs", got, "seed %d", seed)
		default:
			require.Equal(t, "same", got, "seed %d", seed)
		}

		require.Zero(t, rechecks.Len(), "seed %d", seed)
	}
}

func TestADocumentThatNeverRestsIsNotSettled(t *testing.T) {
	t.Parallel()

	s := &simulated{r: rand.New(rand.NewPCG(7, 7)), lag: 3, captive: 1, busy: true, damaged: true}
	require.Equal(t, "unsettled", s.verdict(&Rechecks{Rounds: 1, Patience: 100 * time.Second}))
}

// TestEitherVersionOfTheSourceIsRight: the target may have what was there before the source changed once more.
func TestEitherVersionOfTheSourceIsRight(t *testing.T) {
	t.Parallel()

	for had, want := range map[int]Verdict{1: Same, 2: Same, 3: Again} {
		rechecks, suspect := &Rechecks{Rounds: 1}, new(Suspect)
		rechecks.Add(suspect, time.Unix(0, 0))
		rechecks.Based(suspect, version(1), bson.Timestamp{T: 1})
		require.Equal(t, want, rechecks.Judge(suspect, version(had), version(2), bson.Timestamp{T: 2}), "version %d", had)
	}
}

func TestPassed(t *testing.T) {
	t.Parallel()

	at := bson.Timestamp{T: 5, I: 2}

	for name, test := range map[string]struct {
		p    Progress
		want bool
	}{
		"nothing known":                 {Progress{}, false},
		"position behind":               {Progress{Partitions: []Applied{{Position: event.Position{T: 5, I: 3}}}}, true},
		"position at it, more may come": {Progress{Partitions: []Applied{{Position: event.Position{T: 5, I: 2, Ordinal: 9}}}}, false},
		"all, captured behind":          {Progress{Captured: bson.Timestamp{T: 6}, Partitions: []Applied{{All: true}}}, true},
		"all, captured up to it":        {Progress{Captured: at, Partitions: []Applied{{All: true}}}, true},
		"all, captured before it":       {Progress{Captured: bson.Timestamp{T: 5, I: 1}, Partitions: []Applied{{All: true}}}, false},
		"captured, not all":             {Progress{Captured: bson.Timestamp{T: 6}, Partitions: []Applied{{}}}, false},
	} {
		require.Equal(t, test.want, test.p.passed(0, at), name)
		require.False(t, test.p.passed(7, at), name)
	}
}
