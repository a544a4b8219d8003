package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// targetBack restores the target from a backup of a while ago, data and checkpoints together.
type targetBack struct {
	changes uint64 // between then and now
}

func targetBackClass() Class {
	return Class{
		Name: "target-back", Says: "the target is restored from a backup, its checkpoints with it", Rewrites: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault { return &targetBack{changes: 50 + uint64(r.IntN(300))} },
	}
}

// String implements Fault.
func (f *targetBack) String() string {
	return fmt.Sprintf("the target goes back to where it was %d changes ago", f.changes)
}

// Strike implements Fault.
func (f *targetBack) Strike(ctx context.Context, s *Stage) (hit Hit, err error) {
	server := s.World.Target.Server
	saved := filepath.Join(s.World.Dir, "target-of-before")

	defer func() { err = errors.Join(err, os.RemoveAll(saved)) }()

	if err := server.Terminate(); err != nil {
		return hit, err
	}

	if err := errors.Join(os.CopyFS(saved, os.DirFS(server.DataDir())), server.Restart(ctx)); err != nil {
		return hit, err
	}

	s.Pass(ctx, f.changes, 2*networkMost)
	s.awaitApplied(ctx)

	// What was recorded of the target so far is judged; from here on it is another history.
	if err := s.recording.leaveTarget(ctx); err != nil {
		return hit, err
	}

	if err := server.Kill(); err != nil {
		return hit, err
	}

	data := server.DataDir()
	if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(saved)), server.Restart(ctx)); err != nil {
		return hit, err
	}

	return Hit{Times: 1, Victim: string(target), Detail: f.String()}, s.recording.returnToTarget(ctx)
}
