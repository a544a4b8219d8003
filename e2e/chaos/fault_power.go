package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// power cuts the power of the machine that NATS runs on: of its files is left what had reached the disk. It acknowledges
// before it syncs, so messages are gone that were acknowledged, and applied. The kernel has written everything a while
// before: a stream that was only just made would be gone with all its files.
type power struct {
	since uint64 // changes since the kernel has written everything
	away  uint64 // changes until the machine is back
}

func powerClass() Class {
	return Class{
		Name: "power", Says: "NATS loses power, and with it what its disk had not taken yet", Disk: true,
		Lacks: harness.DiskLacks, Fits: alone,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &power{since: uint64(r.IntN(600)), away: uint64(r.IntN(200))}
		},
	}
}

// String implements Fault.
func (f *power) String() string {
	return fmt.Sprintf("NATS loses power, %d changes after its disk was written, away for %d changes", f.since, f.away)
}

// Strike implements Fault.
func (f *power) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(natsServer), LosesTail: true}

	written, err := s.State(ctx)
	if err != nil {
		return hit, err
	}

	if err := s.World.Disk.Sync(ctx); err != nil {
		return hit, err
	}

	s.Pass(ctx, f.since, networkMost)
	s.awaitStored(ctx, written.LastSeq+f.since/2)

	before, err := s.State(ctx)
	if err != nil {
		return hit, err
	}

	if err := s.World.Disk.CutPower(ctx, s.World.NATS.Service); err != nil {
		return hit, err
	}

	s.Pass(ctx, f.away, awayMost)

	if err := s.World.NATS.Start(); err != nil {
		return hit, err
	}

	after, err := s.State(ctx)
	hit.Times = 1
	hit.Detail = fmt.Sprintf("the stream ended at %d before and at %d after it; %s", before.LastSeq, after.LastSeq, f)
	s.Note("%s", hit.Detail)

	return hit, err
}
