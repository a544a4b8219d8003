package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// recordVariable names a folder: then every run of traffic of these tests is recorded there, each in a folder of its own,
// and judged.
const recordVariable = "E2E_RECORD"

// record begins the record of the run; finish judges it. It comes before the flow is made.
func (s *scenario) record(folder string) {
	s.t.Helper()

	connect := s.world.NATS.JetStream
	if s.cluster != nil {
		connect = s.cluster.JetStream
	}

	nc, js, err := connect()
	require.NoError(s.t, err)
	s.t.Cleanup(nc.Close)

	s.folder = folder
	s.recorder, err = record.Start(s.t.Context(), record.Options{
		Folder: folder, JetStream: js, Source: s.world.Source.Client, Target: s.world.Target.Client, Sample: s.relay.Sample,
		Meta: history.Meta{
			Flow: "test", Seed: strconv.FormatUint(s.seed, 10), Schema: s.ddl, Namespaces: []string{s.db + ".*", s.beside() + ".*"},
		},
	})
	require.NoError(s.t, err)
}

// told is who hears of the traffic's writes.
func (s *scenario) told() func(history.Write) {
	return func(w history.Write) {
		if s.recorder != nil {
			s.recorder.Write(w)
		}
	}
}

// judge ends the record, if there is one, and has it judged. Who wants to see something happen during the faults says so
// to the checker himself.
func (s *scenario) judge() {
	s.t.Helper()

	if s.recorder == nil {
		return
	}

	recorder := s.recorder
	s.recorder = nil

	require.NoError(s.t, recorder.Finish(s.t.Context()))

	for _, service := range s.relay.Services() {
		require.NoError(s.t, recorder.KeepLog(service.LogFile()))
	}

	report, err := verify.Check(s.folder, verify.Limits{})
	require.NoError(s.t, err)
	require.True(s.t, report.OK(), "%s: %s", s.folder, printed(s.t, report))
	s.t.Log(printed(s.t, report))
}

// during is how many changes are written while a fault lasts.
const during = 100

// TestRecordedRunIsJudged records a run in which services and servers are killed, has the checker judge it, and then takes
// single events out of the record: the checker has to miss each of them.
func TestRecordedRunIsJudged(t *testing.T) {
	folder := recordRun(t)

	limits := verify.Limits{FaultChanges: during}
	report, err := verify.Check(folder, limits)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", printed(t, report))

	figures := &report.Figures
	require.Greater(t, figures.Writes, 500)
	require.GreaterOrEqual(t, figures.Published, figures.Writes-figures.Failed)
	require.Greater(t, figures.Commits, 100)
	require.Greater(t, figures.Samples, 3)
	require.Positive(t, figures.Together+figures.Split)
	require.Equal(t, 4, figures.Faults)
	require.GreaterOrEqual(t, figures.Recovery, time.Duration(0))

	for name, broken := range map[string]verify.Invariant{history.TargetFile: verify.I1, history.StreamFile: verify.I5, history.SourceDocuments: verify.I2} {
		report, err := verify.Check(without(t, folder, name), limits)
		require.NoError(t, err)

		// Whether the state was asked for later than 10 s after that depends on the machine.
		found := slices.DeleteFunc(report.Broken(), func(i verify.Invariant) bool { return i == verify.I10 })
		require.Equal(t, []verify.Invariant{broken}, found, "one line dropped from %s:\n%s", name, printed(t, report))
	}
}

// recordRun is a run with kill -9 of listener, processor, NATS and target in it.
func recordRun(t *testing.T) (folder string) {
	t.Helper()

	s := open(t)
	folder = t.TempDir()

	s.record(folder)
	s.write()

	server := s.world.Target.Server

	for _, victim := range []struct {
		name        string
		kill, start func() error
	}{
		{"listener", s.relay.Listener.Kill, s.relay.Listener.Start},
		{"processor", s.relay.Processors()[0].Kill, s.relay.Processors()[0].Start},
		{"nats", s.world.NATS.Kill, s.world.NATS.Start},
		{"target", server.Kill, func() error { return server.Restart(t.Context()) }},
	} {
		s.progress(steady)

		fault := history.Fault{Class: "kill -9", Victim: victim.name, From: time.Now(), Hits: 1}
		written := s.traffic.Journal().Changes()

		require.NoError(t, victim.kill())
		require.Eventually(t, func() bool { return s.traffic.Journal().Changes() >= written+2*during }, patience, 10*time.Millisecond)
		require.NoError(t, victim.start())

		fault.To = time.Now()
		s.recorder.Fault(fault)
	}

	s.progress(steady)
	s.finish()

	return folder
}

func printed(t *testing.T, report *verify.Report) string {
	t.Helper()

	file, err := os.Create(filepath.Join(t.TempDir(), "report"))
	require.NoError(t, err)
	require.NoError(t, errors.Join(report.Write(file), file.Close()))

	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)

	return string(text)
}

// without copies a record and leaves out one line of a file: the last of them that is about a document.
func without(t *testing.T, folder, name string) string {
	t.Helper()

	other := t.TempDir()
	require.NoError(t, os.CopyFS(other, os.DirFS(folder)))
	require.NoError(t, os.Remove(filepath.Join(other, name)))

	switch name {
	case history.TargetFile:
		dropLast(t, folder, other, name, func(c *history.Change) bool {
			operation := bson.Raw(c.Event).Lookup("operationType").StringValue()

			return operation == "update" && bson.Raw(c.Event).Lookup("ns", "db").StringValue() != verify.Database
		})
	case history.StreamFile:
		seen := 0
		dropLast(t, folder, other, name, func(*history.Message) bool { seen++; return seen == 300 })
	default:
		dropLast(t, folder, other, name, func(*history.Document) bool { return true })
	}

	return other
}

// dropLast copies a file without the last record of those that are meant.
func dropLast[T any](t *testing.T, from, to, name string, meant func(*T) bool) {
	t.Helper()

	var (
		all  []T
		last = -1
	)

	require.NoError(t, history.Each(from, name, func(record *T) error {
		if meant(record) {
			last = len(all)
		}

		all = append(all, *record)

		return nil
	}))
	require.GreaterOrEqual(t, last, 0)

	file, err := history.Create[T](to, name)
	require.NoError(t, err)

	for i := range all {
		if i != last {
			require.NoError(t, file.Add(all[i]))
		}
	}

	require.NoError(t, file.Close())
}
