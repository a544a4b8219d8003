package verify_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

func check(t *testing.T, w *world, limits verify.Limits) *verify.Report {
	t.Helper()

	report, err := verify.Check(w.save(t), limits)
	require.NoError(t, err)

	return report
}

var few = verify.Limits{FaultChanges: 10, WholeTransactions: true}

func text(t *testing.T, r *verify.Report) string {
	t.Helper()

	var b bytes.Buffer

	require.NoError(t, r.Write(&b))

	return b.String()
}

func idOf(id string) []byte {
	raw, _ := bson.Marshal(bson.D{{Key: "_id", Value: id}})

	return raw
}

// at finds an event of a side by operation, document and version; for atlas_relay.* the version is not asked.
func at(events []told, op, id string, version int64) int {
	return slices.IndexFunc(events, func(e told) bool {
		v := field(e.doc, "fullDocument.v")
		if v == nil {
			v = field(e.doc, "updateDescription.updatedFields.v")
		}

		return field(e.doc, "operationType") == op && field(e.doc, "documentKey._id") == id && (v == nil || v == version)
	})
}

func copyOf(w *world, op, id string, version int64) told {
	return w.target[at(w.target, op, id, version)]
}

// commitOf finds the checkpoint's event in front of an event of the target.
func commitOf(w *world, event int) *told {
	for ; field(w.target[event].doc, "ns.coll") != "checkpoints"; event-- {
	}

	return &w.target[event]
}

// last commit of a partition.
func last(w *world, p int) *told {
	for i := len(w.target) - 1; ; i-- {
		if field(w.target[i].doc, "documentKey._id") == checkpointID(p) {
			return &w.target[i]
		}
	}
}

// damage is one thing that is wrong with a record.
type damage struct {
	do   func(*world)
	find []verify.Invariant // by which it is refused, and by no other
	kind string             // of the first finding
	says string             // its verdict
	also []verify.Invariant // that are broken with it
}

func only(i verify.Invariant) []verify.Invariant { return []verify.Invariant{i} }

func without[T any](list []T, i int) []T { return append(slices.Clone(list[:i]), list[i+1:]...) }

func damages() map[string]damage {
	all := map[string]damage{}

	for _, some := range []map[string]damage{ofLoss(), ofDocuments(), ofOrder(), ofStream(), ofCommits(), ofLetters(), ofSamples(), ofMachines()} {
		for name, d := range some {
			if _, twice := all[name]; twice {
				panic("two damages are named " + name)
			}

			all[name] = d
		}
	}

	return all
}

// TestBadHistoriesAreRefused damages the good history in one way each.
func TestBadHistoriesAreRefused(t *testing.T) {
	t.Parallel()

	all := damages()
	require.GreaterOrEqual(t, len(all), 40)

	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := good()
			d.do(w)

			report := check(t, w, few)
			require.Equal(t, d.find, report.Broken(), "%s", text(t, report))

			first := report.Findings[0]
			require.Equal(t, d.kind, first.Kind, first.String())
			require.Contains(t, first.Verdict, d.says)
			require.LessOrEqual(t, strings.Count(first.Verdict, "\n"), 2, "a verdict has at most three lines")
			require.Equal(t, d.also, first.Also)
			require.Contains(t, text(t, report), first.Verdict)
		})
	}
}

// TestEqualRecordsGiveEqualReports: nothing depends on the order of a map.
func TestEqualRecordsGiveEqualReports(t *testing.T) {
	t.Parallel()

	w := good()
	clear(w.targetDocs)
	w.target = w.target[:len(w.target)/2]
	folder := w.save(t)

	first, err := verify.Check(folder, few)
	require.NoError(t, err)
	require.Greater(t, len(first.Findings), 10)

	for range 5 {
		again, err := verify.Check(folder, few)
		require.NoError(t, err)
		require.Equal(t, text(t, first), text(t, again))
	}
}

// TestDamagedFilesAreNoVerdict: what cannot be read is an error, not a history without findings.
func TestDamagedFilesAreNoVerdict(t *testing.T) {
	t.Parallel()

	for _, name := range []string{
		history.MetaFile, history.WritesFile, history.SourceFile, history.TargetFile, history.StreamFile, history.SourceDocuments, history.TargetDocuments,
	} {
		w := good()
		w.without = []string{name}
		_, err := verify.Check(w.save(t), few)
		require.Error(t, err, name)
	}

	for _, name := range []string{history.WritesFile, history.TargetFile, history.SamplesFile} {
		w := good()
		folder := w.save(t)
		require.NoError(t, exec.Command("truncate", "--size=-5", filepath.Join(folder, name)).Run())
		_, err := verify.Check(folder, few)
		require.ErrorIs(t, err, history.ErrDamaged, name)
	}
}

// TestCheckerKnowsNothingOfTheRelay: a mistake that it shared would be found by nobody. Nor does it talk to servers.
func TestCheckerKnowsNothingOfTheRelay(t *testing.T) {
	t.Parallel()

	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)

	const own = "github.com/atlas-relay/atlas-relay/"

	for pkg := range strings.FieldsSeq(string(out)) {
		if rest, ours := strings.CutPrefix(pkg, own); ours {
			require.Contains(t, []string{"e2e/verify", "e2e/history"}, rest)
		}

		for _, client := range []string{"github.com/nats-io/", "go.mongodb.org/mongo-driver/v2/mongo", "google.golang.org/grpc", "net/http"} {
			require.False(t, strings.HasPrefix(pkg, client), pkg)
		}
	}

	require.Contains(t, string(out), own+"e2e/history")
}

// TestRecoveryIsMeasured and judged only by a limit that the caller gives.
func TestRecoveryIsMeasured(t *testing.T) {
	t.Parallel()

	w := good()
	w.samples[1].at = w.faults[0].To.Add(3 * time.Second)
	w.samples[2].at = w.faults[0].To.Add(4 * time.Second)

	report := check(t, w, few)
	require.True(t, report.OK(), "%s", text(t, report))
	require.Equal(t, 3*time.Second, report.Figures.Recovery)

	for limit, broken := range map[time.Duration][]verify.Invariant{3 * time.Second: nil, 2 * time.Second: only(verify.I12)} {
		limits := few
		limits.Recovery = limit
		require.Equal(t, broken, check(t, w, limits).Broken(), "%s", limit)
	}
}

// TestPiecesOfTransactionsAreCounted where nobody asks for whole ones.
func TestPiecesOfTransactionsAreCounted(t *testing.T) {
	t.Parallel()

	w := good()
	damages()["a transaction in two commits"].do(w)

	report := check(t, w, verify.Limits{})
	require.True(t, report.OK(), "%s", text(t, report))
	require.Equal(t, 1, report.Figures.Split)
	require.Equal(t, 1, report.Figures.Together)
}

// TestManyFindingsOfAKindAreCounted and the first ones printed.
func TestManyFindingsOfAKindAreCounted(t *testing.T) {
	t.Parallel()

	w := good()
	for i := range 20 {
		w.faults = append(w.faults, history.Fault{Class: "cut", Victim: strconv.Itoa(i), From: w.meta.Started, To: w.faults[0].To})
	}

	report := text(t, check(t, w, few))
	require.Contains(t, report, "20 violations: vacuity")
	require.Equal(t, 5, strings.Count(report, "did not hit"))
	require.Contains(t, report, "fault missed: 15 more")
}
