package verify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// State is what a verification that was interrupted goes on from. It holds _ids of documents, and no other values unless
// values were asked for.
type State struct {
	Version  int       `bson:"version"`
	Flow     string    `bson:"flow"`
	StreamID string    `bson:"stream_id"`
	Only     []string  `bson:"only"` // namespaces asked for; none: all
	Began    time.Time `bson:"began"`

	Ranges      []rangeState        `bson:"ranges"`
	Suspects    []suspectState      `bson:"suspects"` // found, and not known yet what they are
	Met         [][]byte            `bson:"met"`      // keys of these, and of what was reported
	Totals      Totals              `bson:"totals"`
	Differences []Difference        `bson:"differences"`
	Catalog     []CatalogDifference `bson:"catalog"`
	Defined     bool                `bson:"defined"` // definitions were compared
	Notes       []string            `bson:"notes"`
}

// stateVersion is raised when an older state can no longer be gone on from.
const stateVersion = 2

// rangeState is a Range as it is kept; the bounds are documents of one _id, absent where they are open.
type rangeState struct {
	DB   string   `bson:"db"`
	Coll string   `bson:"coll"`
	From bson.Raw `bson:"from,omitempty"`
	To   bson.Raw `bson:"to,omitempty"`
	Last bson.Raw `bson:"last,omitempty"`
	Done bool     `bson:"done"`

	Documents int64 `bson:"documents"`
	Bytes     int64 `bson:"bytes"`
}

type suspectState struct {
	DB   string   `bson:"db"`
	Coll string   `bson:"coll"`
	ID   bson.Raw `bson:"id"`
}

// wrap makes a document of an _id; nil of none.
func wrap(id bson.RawValue) bson.Raw {
	if id.Type == 0 {
		return nil
	}

	raw, _ := bson.Marshal(bson.D{{Key: "_id", Value: id}}) // it came from BSON

	return raw
}

func unwrap(raw bson.Raw) bson.RawValue {
	if raw == nil {
		return bson.RawValue{}
	}

	return raw.Lookup("_id")
}

func keepRange(r *Range) rangeState {
	return rangeState{
		DB: r.Namespace.DB, Coll: r.Namespace.Coll, From: wrap(r.From), To: wrap(r.To), Last: wrap(r.Last), Done: r.Done,
		Documents: r.Documents, Bytes: r.Bytes,
	}
}

func (r *rangeState) restore() Range {
	return Range{
		Namespace: event.Namespace{DB: r.DB, Coll: r.Coll}, From: unwrap(r.From), To: unwrap(r.To), Last: unwrap(r.Last), Done: r.Done,
		Documents: r.Documents, Bytes: r.Bytes,
	}
}

// ErrState says that a file holds no state that this version can go on from.
var ErrState = errors.New("no state of a verification")

// LoadState reads a file. Errors: ErrState, or those of the file system, fs.ErrNotExist among them.
func LoadState(path string) (*State, error) {
	content, err := os.ReadFile(path) //nolint:gosec // who runs the program names its files
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}

	s := new(State)
	if err := bson.Unmarshal(content, s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrState, err)
	}

	if s.Version != stateVersion {
		return nil, fmt.Errorf("%s: %w: version %d", path, ErrState, s.Version)
	}

	return s, nil
}

// Save writes the file whole or not at all; only its owner may read it.
func (s *State) Save(path string) error {
	content, err := bson.Marshal(s) // not JSON, which cannot hold every _id as it is
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the state: %w", err)
	}

	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}

	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}

	return nil
}
