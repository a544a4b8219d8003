package verify_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// save writes the record and returns its folder.
func (w *world) save(t *testing.T) string {
	t.Helper()

	folder := t.TempDir()
	require.NoError(t, history.WriteMeta(folder, w.meta))
	require.NoError(t, os.Mkdir(filepath.Join(folder, history.LogsDir), 0o700))

	for name, text := range w.logs {
		require.NoError(t, os.WriteFile(filepath.Join(folder, history.LogsDir, name), []byte(text), 0o600))
	}

	file(t, folder, history.WritesFile, w.writes)
	file(t, folder, history.SourceFile, changes(t, w.source))
	file(t, folder, history.TargetFile, changes(t, w.target))
	file(t, folder, history.StreamFile, w.stream)
	file(t, folder, history.FaultsFile, w.faults)
	file(t, folder, history.UsageFile, w.usage)
	file(t, folder, history.SourceDefinitions, w.sourceDefined)
	file(t, folder, history.TargetDefinitions, w.targetDefined)
	file(t, folder, history.SourceDocuments, documents(t, shop, slices.Collect(maps.Values(w.sourceDocs))))
	file(t, folder, history.TargetDocuments, documents(t, shop, slices.Collect(maps.Values(w.targetDocs))))
	file(t, folder, history.ParkedFile, documents(t, "atlas_relay.parked", w.parked))
	file(t, folder, history.GapsFile, documents(t, "atlas_relay.gaps", w.gaps))

	samples := make([]history.Sample, len(w.samples))

	for i, s := range w.samples {
		text, err := json.Marshal(s.stats)
		require.NoError(t, err)

		samples[i] = history.Sample{Time: s.at, Stats: text}
	}

	file(t, folder, history.SamplesFile, samples)

	for _, name := range w.without {
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
	}

	return folder
}

func file[T any](t *testing.T, folder, name string, records []T) {
	t.Helper()

	f, err := history.Create[T](folder, name)
	require.NoError(t, err)

	for _, r := range records {
		require.NoError(t, f.Add(r))
	}

	require.NoError(t, f.Close())
}

func changes(t *testing.T, events []told) []history.Change {
	t.Helper()

	all := make([]history.Change, len(events))

	for i, e := range events {
		raw, err := bson.Marshal(e.doc)
		require.NoError(t, err)

		all[i] = history.Change{Time: e.at, Event: raw}
	}

	return all
}

func documents(t *testing.T, ns string, docs []bson.D) []history.Document {
	t.Helper()

	all := make([]history.Document, len(docs))

	for i, d := range docs {
		raw, err := bson.Marshal(d)
		require.NoError(t, err)

		all[i] = history.Document{Namespace: ns, Document: raw}
	}

	return all
}

// field is a value of a document, by its path; nil where there is none.
func field(doc bson.D, path string) any {
	name, rest, nested := strings.Cut(path, ".")

	for _, e := range doc {
		if e.Key != name {
			continue
		}

		if inner, ok := e.Value.(bson.D); ok && nested {
			return field(inner, rest)
		}

		return e.Value
	}

	return nil
}

func nested(doc bson.D, path string) bson.D {
	d, _ := field(doc, path).(bson.D)

	return d
}

// put changes a field of a document; one on its way is copied.
func put(doc *bson.D, path string, value any) {
	name, rest, nested := strings.Cut(path, ".")
	*doc = slices.Clone(*doc)

	for i := range *doc {
		e := &(*doc)[i]
		if e.Key != name {
			continue
		}

		if inner, ok := e.Value.(bson.D); ok && nested {
			put(&inner, rest, value)
			value = inner
		}

		e.Value = value

		return
	}

	*doc = append(*doc, bson.E{Key: name, Value: value})
}
