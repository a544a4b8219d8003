package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// block damages a file of the stream while NATS is down: what the server makes of it is its affair, that the relay finds
// out is ours. Where nothing is left to go on from, the flow ends and says so.
type block struct {
	damage damage
	where  float64 // share of the files, and of the file
	bytes  int
	index  bool // the index is gone, too
}

// damage is what happens to a file.
type damage string

// The damages.
const (
	flipped   damage = "one bit flipped"
	zeroed    damage = "a page zeroed"
	truncated damage = "cut short"
	removed   damage = "removed"
)

const pageSize = 4096

func blockClass() Class {
	return Class{
		Name: "block", Says: "a block file of the stream is damaged, cut short or gone", Ending: MayEnd, Short: true,
		Fits: alone,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			damages := []damage{flipped, zeroed, truncated, removed}

			return &block{damage: damages[r.IntN(len(damages))], where: r.Float64(), bytes: 1 + r.IntN(64<<10), index: r.IntN(2) == 0}
		},
	}
}

// String implements Fault.
func (f *block) String() string {
	return fmt.Sprintf("a block of the stream, at %.0f %%: %s (index gone: %v)", 100*f.where, f.damage, f.index)
}

// Strike implements Fault.
func (f *block) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(natsServer), LosesTail: true}

	err := s.whileNATSIsDown(ctx, func(dir string) error {
		blocks, err := blocksOf(dir)
		if err != nil {
			return err
		}

		path := blocks[int(f.where*float64(len(blocks)))]
		hit.Detail = fmt.Sprintf("%s of %d: %s", filepath.Base(path), len(blocks), f)

		changed, err := f.apply(path)
		if err == nil && f.index {
			err = os.Remove(filepath.Join(dir, "msgs", "index.db"))
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}

		if changed {
			hit.Times = 1
		}

		return err
	})
	if err != nil {
		return hit, err
	}

	s.Pass(ctx, 200, networkMost)

	return hit, nil
}

// blocksOf are the block files of a stream, in the order of its messages; at least one.
func blocksOf(dir string) ([]string, error) {
	blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		return nil, errors.Join(err, errors.New("the stream has no block"))
	}

	slices.SortFunc(blocks, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // by number

	return blocks, nil
}

// apply damages the file.
func (f *block) apply(path string) (changed bool, err error) {
	if f.damage == removed {
		return true, os.Remove(path)
	}

	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return false, err
	}

	at := int(f.where * float64(len(data)))

	switch f.damage {
	case flipped:
		data[at] ^= 1 << (f.bytes % 8)
	case zeroed:
		clear(data[at:min(at+pageSize, len(data))])
	case truncated:
		data = data[:max(0, len(data)-f.bytes)]
	case removed:
	}

	return true, os.WriteFile(path, data, 0o600)
}
