package batch_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
)

// update rewrites the answers in testdata.
var update = flag.Bool("update", false, "rewrite testdata")

// TestScripts runs testdata/*.txt. A script has one command a line, and behind
// "=>" what it must answer:
//
//	limits size=3 bytes=100 idle=1s age=2s eager   a new batcher
//	add 10ms a 20                                   at 10 ms the event a of 20 bytes
//	at 1s                                           what is due at 1 s, nothing in flight
//	at 1s busy                                      what is due while a batch is in flight
//	close                                           somebody needs the memory
//
// An answer is "[a b]", the batch that closed, or "open N until T".
func TestScripts(t *testing.T) {
	t.Parallel()

	scripts, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)

	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()

			text, err := os.ReadFile(path)
			require.NoError(t, err)

			got := play(t, string(text))

			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
			}

			require.Equal(t, string(text), got)
		})
	}
}

func play(t *testing.T, script string) string {
	t.Helper()

	var (
		b   *batch.Batcher[string]
		out strings.Builder
	)

	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		command, _, _ := strings.Cut(lines.Text(), " =>")
		fields := strings.Fields(command)

		if len(fields) == 0 || fields[0] == "#" {
			fmt.Fprintln(&out, lines.Text())

			continue
		}

		answer := ""

		switch fields[0] {
		case "limits":
			b = batch.New[string](parseLimits(t, fields[1:]))
		case "add":
			require.False(t, b.Full(), "%s: the batch is full", command)

			size, err := strconv.Atoi(fields[3])
			require.NoError(t, err)
			b.Add(at(t, fields[1]), fields[2], size)
		case "at":
			answer = ask(b, at(t, fields[1]), len(fields) > 2)
		case "close":
			b.Close()
		default:
			t.Fatalf("unknown command %q", command)
		}

		if answer != "" {
			command += " => " + answer
		}

		fmt.Fprintln(&out, command)
	}

	return out.String()
}

// start is the time 0 of scripts.
func start() time.Time { return time.Unix(1_000_000, 0) }

func at(t *testing.T, s string) time.Time {
	t.Helper()

	d, err := time.ParseDuration(s)
	require.NoError(t, err)

	return start().Add(d)
}

func ask(b *batch.Batcher[string], now time.Time, busy bool) string {
	if b.Due(now, busy) {
		return fmt.Sprint(b.Take())
	}

	deadline, ok := b.Deadline()
	if !ok {
		return "open 0"
	}

	return fmt.Sprintf("open %d until %s", b.Len(), deadline.Sub(start()))
}

func parseLimits(t *testing.T, fields []string) batch.Limits {
	t.Helper()

	var (
		l   batch.Limits
		err error
	)

	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")

		switch key {
		case "size":
			l.Size, err = strconv.Atoi(value)
		case "bytes":
			l.Bytes, err = strconv.Atoi(value)
		case "idle":
			l.Idle, err = time.ParseDuration(value)
		case "age":
			l.MaxAge, err = time.ParseDuration(value)
		case "eager":
			l.Eager = true
		default:
			t.Fatalf("unknown limit %q", f)
		}

		require.NoError(t, err)
	}

	return l
}

// TestEveryEventLeavesInOrderAndInTime is what holds for any limits and any
// traffic.
func TestEveryEventLeavesInOrderAndInTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := batch.Limits{
			Size:  rapid.IntRange(1, 5).Draw(t, "size"),
			Bytes: rapid.IntRange(1, 100).Draw(t, "bytes"),
			Idle:  time.Duration(rapid.IntRange(1, 50).Draw(t, "idle")),
			Eager: rapid.Bool().Draw(t, "eager"),
		}
		limits.MaxAge = limits.Idle + time.Duration(rapid.IntRange(0, 50).Draw(t, "more"))

		var (
			b        = batch.New[int](limits)
			now      = start()
			added    int
			left     []int
			born     time.Time // of the open batch
			inFlight bool
		)

		take := func() {
			size := b.Len()
			taken := b.Take()
			require.NotEmpty(t, taken)
			require.Len(t, taken, size)
			require.LessOrEqual(t, len(taken), limits.Size)
			require.Zero(t, b.Len())

			_, open := b.Deadline()
			require.False(t, open)

			left = append(left, taken...)
		}

		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if b.Full() {
					t.Skip("full")
				}

				if b.Len() == 0 {
					born = now
				}

				b.Add(now, added, rapid.IntRange(1, 60).Draw(t, "bytes"))
				added++
			},
			"wait":   func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "ns"))) },
			"flight": func(*rapid.T) { inFlight = !inFlight },
			"close":  func(*rapid.T) { b.Close() },
			"": func(t *rapid.T) {
				deadline, open := b.Deadline()
				require.Equal(t, b.Len() > 0, open)

				switch {
				case !open:
					require.False(t, b.Due(now, inFlight))
					require.False(t, b.Full(), "an empty batch takes an event of any size")
				case b.Due(now, inFlight):
					take()
				default:
					require.True(t, now.Before(deadline), "due at its deadline")
					require.False(t, deadline.After(born.Add(limits.MaxAge)), "a trickle does not starve")
					require.False(t, limits.Eager && !inFlight)
					require.Less(t, b.Len(), limits.Size)
				}
			},
		})

		if b.Len() > 0 {
			take()
		}

		for i, e := range left {
			require.Equal(t, i, e)
		}

		require.Len(t, left, added)
	})
}
