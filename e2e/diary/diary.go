// Package diary is what a demo tells a program that watches it: where to look, and what happens when.
package diary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

// Entry is one thing that happened.
type Entry struct {
	At time.Time

	Running *Running      `json:",omitempty"` // the flow replicates
	Strike  *fault.Strike `json:",omitempty"` // something is broken, or whole again
	Judged  bool          `json:",omitempty"` // the run is over, and everything held
}

// Running is where a flow can be looked at.
type Running struct {
	Flow     string
	PageURL  string
	GRPCAddr string
	OpsAddr  string // of the stats service
	Relayctl string // path of the program
}

// Diary is written by the one and read by the other. A nil one takes nothing.
type Diary struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first entry that could not be written; guarded by mu
}

// Begin makes the file; without a path there is none. The caller must Close it.
func Begin(path string) (*Diary, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nobody follows
	}

	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("begin the diary: %w", err)
	}

	return &Diary{file: file}, nil
}

// Write adds an entry of now. It may be called from any goroutine.
func (d *Diary) Write(e Entry) {
	if d == nil {
		return
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	e.At = time.Now()
	line, err := json.Marshal(e)

	if err == nil {
		_, err = d.file.Write(append(line, '\n'))
	}

	if d.err == nil {
		d.err = err
	}
}

// Close ends it, and says what could not be written.
func (d *Diary) Close() error {
	if d == nil {
		return nil
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	if err := errors.Join(d.err, d.file.Close()); err != nil {
		return fmt.Errorf("write the diary: %w", err)
	}

	return nil
}

// followEvery is how often it is looked for new entries.
const followEvery = 20 * time.Millisecond

// Follow reads entries as they come, from the first one on, until ctx ends. The file may come later.
func Follow(ctx context.Context, path string, told func(Entry) error) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()

	for done := 0; ; {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read the diary: %w", err)
		}

		for {
			line, _, whole := bytes.Cut(text[min(done, len(text)):], []byte("\n"))
			if !whole {
				break
			}

			var e Entry
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read the diary: %w", err)
			}

			if err := told(e); err != nil {
				return err
			}

			done += len(line) + 1
		}

		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
