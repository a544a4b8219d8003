package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// errEnough ends the visit of a file.
var errEnough = errors.New("enough was read")

// judgeDocuments is the first part of I2: both sides hold the same documents at the end, byte for byte.
func (m *model) judgeDocuments() error {
	left := map[string][sha256.Size]byte{}

	err := history.Each(m.folder, history.SourceDocuments, func(d *history.Document) error {
		key, err := keyOfDocument(d)
		if err == nil && m.meta.Includes(d.Namespace) {
			left[key] = sha256.Sum256(d.Document)
			m.report.Figures.Documents++
		}

		return err
	})
	if err != nil {
		return err
	}

	var differ []string

	err = history.Each(m.folder, history.TargetDocuments, func(d *history.Document) error {
		key, err := keyOfDocument(d)
		if err != nil || !m.meta.Includes(d.Namespace) {
			return err
		}

		if sum, there := left[key]; !there || sum != sha256.Sum256(d.Document) {
			differ = append(differ, key)
		}

		delete(left, key)

		return nil
	})
	if err != nil {
		return err
	}

	differ = slices.AppendSeq(differ, maps.Keys(left))
	slices.Sort(differ)

	for _, key := range differ {
		if err := m.judgeDifference(key); err != nil {
			return err
		}
	}

	return nil
}

func keyOfDocument(d *history.Document) (string, error) {
	id, err := bson.Raw(d.Document).LookupErr("_id")
	if err != nil {
		return "", fmt.Errorf("%w: a document of %s: %w", history.ErrDamaged, d.Namespace, err)
	}

	return keyOf(d.Namespace, id), nil
}

// judgeDifference tells of a document that is not the same on both sides, unless something accounts for it.
func (m *model) judgeDifference(key string) error {
	d := m.documents[key]

	switch {
	case d != nil && m.accounted(d):
		return nil
	case d != nil && d.broken != "":
		m.findIn(d, Finding{Invariant: I2})

		return nil
	}

	source, err := m.lookUp(history.SourceDocuments, key)
	if err != nil {
		return err
	}

	target, err := m.lookUp(history.TargetDocuments, key)
	if err != nil {
		return err
	}

	if d == nil {
		ns, _, _ := strings.Cut(key, "\x00")
		d = m.document(ns, append(slices.Clone(source), target...).Lookup("_id"))
	}

	m.findIn(d, Finding{Invariant: I2, Kind: "documents", At: m.meta.Ended, Verdict: difference(source, target)})

	return nil
}

// accounted tells whether the relay itself says that the document may differ.
func (m *model) accounted(d *document) bool {
	if len(d.records) > 0 {
		return true
	}

	return slices.ContainsFunc(d.events, func(i int) bool { return m.events[i].letters > 0 || m.inGap(&m.events[i]) })
}

func (m *model) lookUp(file, key string) (found bson.Raw, err error) {
	err = history.Each(m.folder, file, func(d *history.Document) error {
		if this, err := keyOfDocument(d); err != nil || this != key {
			return err
		}

		found = d.Document

		return errEnough
	})

	if errors.Is(err, errEnough) {
		err = nil
	}

	return found, err
}

// mostShown bounds how much of a value a verdict shows.
const mostShown = 120

func difference(source, target bson.Raw) string {
	switch {
	case target == nil:
		return "missing on the target at the end"
	case source == nil:
		return "on the target only at the end"
	}

	left, _ := source.Elements()
	right, _ := target.Elements()

	for i := range min(len(left), len(right)) {
		if !bytes.Equal(left[i], right[i]) {
			return fmt.Sprintf("differs at the end\nsource %.*s\ntarget %.*s", mostShown, left[i], mostShown, right[i])
		}
	}

	return fmt.Sprintf("differs at the end: the source has %d fields, the target %d", len(left), len(right))
}

// judgeDefinitions is the second part of I2: both sides have the same collections, views and indexes.
func (m *model) judgeDefinitions() error {
	if !m.meta.Schema {
		m.report.NotJudged = append(m.report.NotJudged, "definitions of collections and indexes: the flow does not replicate schema changes")

		return nil
	}

	read := func(file string) (all []history.Definition, err error) {
		err = optional(history.Each(m.folder, file, func(d *history.Definition) error {
			if m.meta.Includes(d.Namespace) {
				all = append(all, *d)
			}

			return nil
		}))

		return all, err
	}

	source, err := read(history.SourceDefinitions)
	if err != nil {
		return err
	}

	target, err := read(history.TargetDefinitions)
	if err != nil {
		return err
	}

	for _, what := range Definitions(source, target) {
		m.find(Finding{Invariant: I2, Kind: "definitions", At: m.meta.Ended, Verdict: what})
	}

	return nil
}
