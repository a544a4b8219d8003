package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeError has the operating system refuse what NATS writes beyond a size of its files (RLIMIT_FSIZE: EFBIG), as it
// does on a full disk. A stream that could not be written stays frozen until the server is started again
// (nats-server 2.14), which is what an operator does.
type writeError struct {
	room  uint64 // bytes that the largest file may still grow by
	lasts uint64 // changes
}

func writeErrorClass() Class {
	return Class{
		Name: "write-error", Says: "the system refuses what NATS writes, until it is started again with room",
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &writeError{room: uint64(r.IntN(256 << 10)), lasts: 200 + uint64(r.IntN(300))}
		},
	}
}

// String implements Fault.
func (f *writeError) String() string {
	return fmt.Sprintf("NATS may write %d bytes more to its largest file, for %d changes", f.room, f.lasts)
}

// Strike implements Fault.
func (f *writeError) Strike(ctx context.Context, s *Stage) (Hit, error) {
	nats := s.World.NATS

	largest, err := largestFile(nats.Store())
	if err != nil {
		return Hit{}, err
	}

	limit := unix.Rlimit{Cur: largest + f.room, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(nats.Process().PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
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

func largestFile(dir string) (size uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file of a moment
		}

		if err == nil {
			size = max(size, uint64(info.Size()))
		}

		return err
	})

	return size, err
}
