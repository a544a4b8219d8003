package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// writeError has the operating system refuse what NATS writes beyond a size of its files (RLIMIT_FSIZE: EFBIG), as it
// does on a full disk. A stream that could not be written stays frozen until the server is started again
// (nats-server 2.14), which is what an operator does.
type writeError struct {
	room  uint64 // bytes that the stream's last block may still grow by
	lasts uint64 // changes
}

func writeErrorClass() Class {
	return Class{
		Name: "write-error", Says: "the system refuses what NATS writes, until it is started again with room",
		Lacks: limitable, Fits: alone,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &writeError{room: uint64(r.IntN(32 << 10)), lasts: 200 + uint64(r.IntN(300))}
		},
	}
}

// String implements Fault.
func (f *writeError) String() string {
	return fmt.Sprintf("NATS may write %d bytes more to a file that is as large as the last block, for %d changes", f.room, f.lasts)
}

// Strike implements Fault.
func (f *writeError) Strike(ctx context.Context, s *Stage) (Hit, error) {
	nats := s.World.NATS

	dir, err := s.streamDir()
	if err != nil {
		return Hit{}, err
	}

	blocks, err := blocksOf(dir)
	if err != nil {
		return Hit{}, err
	}

	last, err := os.Stat(blocks[len(blocks)-1])
	if err != nil {
		return Hit{}, fmt.Errorf("look at the last block: %w", err)
	}

	if err := limitFiles(nats.Process().PID(), uint64(last.Size())+f.room); err != nil {
		return Hit{}, fmt.Errorf("limit the files of NATS: %w", err)
	}

	before, err := s.State(ctx)
	if err != nil {
		return Hit{}, err
	}

	s.Pass(ctx, f.lasts, networkMost)

	hit := Hit{Victim: string(natsServer), Detail: f.String()}

	// It does not answer, or not with what was written to the source meanwhile.
	if after, err := s.State(ctx); err != nil || after.LastSeq < before.LastSeq+f.lasts/2 {
		hit.Times = 1
	}

	// The process goes, and its limit with it.
	return hit, errors.Join(nats.Kill(), nats.Start())
}
