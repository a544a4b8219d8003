package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// judgeLogs is the first part of I11: no log has a secret.
func (m *model) judgeLogs() error {
	logs, err := filepath.Glob(filepath.Join(m.folder, history.LogsDir, "*"))
	if err != nil {
		return fmt.Errorf("look for logs: %w", err)
	}

	if len(m.meta.Canaries) == 0 || len(logs) == 0 {
		m.report.NotJudged = append(m.report.NotJudged, "secrets in logs: the record has no logs, or names no canary")

		return nil
	}

	for _, log := range logs {
		if err := m.judgeLog(log); err != nil {
			return err
		}
	}

	return nil
}

// judgeLog reads a log in blocks that overlap by the longest canary, so that none hides between two.
func (m *model) judgeLog(log string) error {
	file, err := os.Open(log)
	if err != nil {
		return fmt.Errorf("read a log: %w", err)
	}
	defer file.Close()

	overlap := 0
	for _, canary := range m.meta.Canaries {
		overlap = max(overlap, len(canary))
	}

	var (
		reader = bufio.NewReader(file)
		block  = make([]byte, overlap+1<<20)
		kept   int
		found  = make([]bool, len(m.meta.Canaries))
	)

	for {
		n, err := io.ReadFull(reader, block[kept:])
		text := block[:kept+n]

		for i, canary := range m.meta.Canaries {
			if canary != "" && !found[i] && bytes.Contains(text, []byte(canary)) {
				found[i] = true
				m.find(Finding{Invariant: I11, Kind: "secret", Verdict: fmt.Sprintf("%s holds canary %d", filepath.Base(log), i+1)})
			}
		}

		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}

		kept = copy(block, text[len(text)-overlap:])
	}
}

// What a process may have in use at the end beyond its baseline: pools and caches that filled up during the run.
const (
	memoryFactor    = 2
	memorySlack     = 64 << 20
	goroutineFactor = 1.2
	goroutineSlack  = 20
	filesSlack      = 20
)

// judgeUsage is the second part of I11: what was in use is given back. Services are compared by name, since a process that
// was killed has a successor.
func (m *model) judgeUsage() error {
	baseline, end := map[string]history.Usage{}, map[string]history.Usage{}

	err := optional(history.Each(m.folder, history.UsageFile, func(u *history.Usage) error {
		switch u.Phase {
		case history.Baseline:
			b := baseline[u.Service]
			b.Memory, b.Goroutines, b.Files = max(b.Memory, u.Memory), max(b.Goroutines, u.Goroutines), max(b.Files, u.Files)
			baseline[u.Service] = b
		case history.End:
			end[u.Service] = *u // the last one counts
		}

		return nil
	}))
	if err != nil {
		return err
	}

	services := make([]string, 0, len(end))
	for service := range end {
		services = append(services, service)
	}

	slices.Sort(services)

	for _, service := range services {
		b, known := baseline[service]
		if !known {
			continue
		}

		e := end[service]
		m.judgeUse(service, "bytes of memory", b.Memory, e.Memory, memoryFactor*b.Memory+memorySlack)
		m.judgeUse(service, "goroutines", int64(b.Goroutines), int64(e.Goroutines), int64(goroutineFactor*float64(b.Goroutines))+goroutineSlack)
		m.judgeUse(service, "open files", int64(b.Files), int64(e.Files), int64(b.Files)+filesSlack)
	}

	if len(services) == 0 {
		m.report.NotJudged = append(m.report.NotJudged, "memory, goroutines and files: the record has no usage at the end")
	}

	return nil
}

func (m *model) judgeUse(service, what string, baseline, end, limit int64) {
	if baseline > 0 && end > limit {
		m.find(Finding{Invariant: I11, Kind: "leak", Verdict: fmt.Sprintf("%s has %d %s at the end, at the baseline it had %d", service, end, what, baseline)})
	}
}
