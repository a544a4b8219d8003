package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// diskFull fills the disk that NATS writes to, and frees it later. What NATS could not write leaves its stream frozen until
// it is started again (nats-server 2.14), which is what an operator does.
type diskFull struct {
	room  int64  // bytes that are left
	lasts uint64 // changes
}

// natsDisk is the size of that disk: more than a stream of such a run needs that nobody purges for a while.
const natsDisk = 1 << 30

func diskFullClass() Class {
	return Class{
		Name: "disk-full", Says: "the disk of NATS is full, until it is freed and the server started again", Disk: true,
		Lacks: harness.DiskLacks, Fits: alone,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &diskFull{room: int64(r.IntN(256 << 10)), lasts: 200 + uint64(r.IntN(300))}
		},
	}
}

// String implements Fault.
func (f *diskFull) String() string {
	return fmt.Sprintf("the disk of NATS has %d bytes left, for %d changes", f.room, f.lasts)
}

// Strike implements Fault.
func (f *diskFull) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(natsServer), Detail: f.String()}

	before, err := s.State(ctx)
	if err != nil {
		return hit, err
	}

	if err := s.World.Disk.Fill(f.room); err != nil {
		return hit, err
	}

	s.Pass(ctx, f.lasts, networkMost)

	// It does not answer, or not with what was written to the source meanwhile.
	if after, err := s.State(ctx); err != nil || after.LastSeq < before.LastSeq+f.lasts/2 {
		hit.Times = 1
	}

	nats := s.World.NATS

	return hit, errors.Join(s.World.Disk.Free(), nats.Kill(), nats.Start())
}
