package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// Record is what is kept of a run: one line of JSON in a ledger, a file that only grows. Tables are made of all of its lines,
// so that many runs may be made in many sittings.
type Record struct {
	Revision string    `json:"revision"` // of the tree that was built; with -dirty where it was another
	Time     time.Time `json:"time"`     // of the end
	Replay   string    `json:"replay"`   // the command that makes the run again

	Seed    uint64        `json:"seed"`
	Changes uint64        `json:"changes"` // that the source has made
	Took    time.Duration `json:"took"`    // nanoseconds

	Faults map[string]*Counts `json:"faults"` // by class
	Armed  map[string]bool    `json:"armed"`  // by how a failpoint was armed: whether it has struck
	Passed []failpoint.Point  `json:"passed"`

	Ended    string   `json:"ended,omitempty"`
	Unjudged string   `json:"unjudged,omitempty"`
	Wrong    []string `json:"wrong,omitempty"`  // findings
	Failed   string   `json:"failed,omitempty"` // why the run could not be made

	Explained string `json:"explained,omitempty"` // what the findings came from, by whoever looked; written into the line by hand
}

// Counts is what the faults of a class have done.
type Counts struct {
	Planned  int     `json:"planned"`
	Struck   int     `json:"struck"`
	Busy     int     `json:"busy"`               // struck, while the source took a hundred changes
	Hits     int     `json:"hits"`               // that it struck with: connections, messages, …
	Recovery []int64 `json:"recovery,omitempty"` // ms each, from its end to the first sample that says OK, where no other came before
}

// RecordOf is what is kept of a run; err is why it could not be made.
func RecordOf(o *Options, outcome *Outcome, err error, revision string) *Record {
	r := &Record{
		Revision: revision, Time: time.Now().UTC().Truncate(time.Second), Replay: o.Replay(), Seed: o.Seed, Changes: outcome.Changes,
		Took: outcome.Took.Round(time.Millisecond), Faults: map[string]*Counts{}, Armed: outcome.Points.Armed,
		Ended: outcome.Ended, Unjudged: outcome.Unjudged,
	}

	for _, strike := range outcome.Strikes {
		c := entry(r.Faults, strike.Class.Name)
		c.Planned++
		c.Hits += strike.Times

		if strike.Times > 0 {
			c.Struck++

			if strike.Changes >= enough {
				c.Busy++
			}
		}

		if strike.Recovery > 0 {
			c.Recovery = append(c.Recovery, strike.Recovery.Milliseconds())
		}
	}

	for _, place := range failpoint.Table() {
		if outcome.Points.Passed[place.Point] {
			r.Passed = append(r.Passed, place.Point)
		}
	}

	for _, f := range outcome.Wrong {
		r.Wrong = append(r.Wrong, strings.ReplaceAll(f.Text, "\n", " "))
	}

	if err != nil {
		r.Failed = shorten(err.Error())
	}

	return r
}

// Append adds the record to a ledger, which is made if it is not there.
func (r *Record) Append(ledger string) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}

	file, err := os.OpenFile(ledger, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}

	_, err = file.Write(append(line, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("keep a run: %w", err)
	}

	return nil
}

// ReadLedger returns the records of a ledger; one that is not there has none.
func ReadLedger(ledger string) (records []Record, err error) {
	data, err := os.ReadFile(ledger)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the runs of before: %w", err)
	}

	lines := json.NewDecoder(bufio.NewReader(bytes.NewReader(data)))

	for {
		var r Record

		switch err := lines.Decode(&r); {
		case errors.Is(err, io.EOF):
			return records, nil
		case err != nil:
			return nil, fmt.Errorf("read the runs of before: record %d of %s: %w", len(records)+1, ledger, err)
		default:
			records = append(records, r)
		}
	}
}
