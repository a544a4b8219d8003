package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// gone deletes the stream, and perhaps makes another one of the same name and settings.
type gone struct {
	anew bool
}

func goneClass() Class {
	return Class{
		Name: "gone", Says: "the stream is deleted, or made anew", Ending: Ends, Short: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault { return &gone{anew: r.IntN(2) == 0} },
	}
}

// String implements Fault.
func (f *gone) String() string {
	if f.anew {
		return "the stream is deleted, and one of its name made in its place"
	}

	return "the stream is deleted"
}

// Strike implements Fault.
func (f *gone) Strike(ctx context.Context, s *Stage) (Hit, error) {
	var (
		settings *topology.Settings
		maxBytes int64
	)

	err := s.OnStream(ctx, func(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) error {
		live, err := topology.Open(ctx, js, flow)
		if err != nil {
			return err
		}

		if settings == nil {
			settings, maxBytes = &live.Settings, stream.CachedInfo().Config.MaxBytes
		}

		return js.DeleteStream(ctx, stream.CachedInfo().Config.Name)
	})
	if err != nil || !f.anew {
		return Hit{Times: 1, Victim: string(natsServer)}, err
	}

	nc, js, err := s.World.JetStream()
	if err != nil {
		return Hit{}, err
	}
	defer nc.Close()

	settings.StreamID = topology.NewStreamID()

	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	if _, err := topology.Create(ctx, js, flow, *settings, maxBytes); err != nil {
		return Hit{}, fmt.Errorf("make another stream: %w", err)
	}

	return Hit{Times: 1, Victim: string(natsServer)}, nil
}
