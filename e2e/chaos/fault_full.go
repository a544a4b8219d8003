package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// full leaves the stream so little room that it is full soon, while nobody applies and nothing can be purged.
type full struct {
	room int64 // bytes
}

// fullMost bounds the wait until the listener says so.
const fullMost = 15 * time.Second

func fullClass() Class {
	return Class{
		Name: "full", Says: "the stream is full while the processors are frozen", Short: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault { return &full{room: int64(r.IntN(64 << 10))} },
	}
}

// String implements Fault.
func (f *full) String() string { return fmt.Sprintf("the stream has room for %d bytes more", f.room) }

// Strike implements Fault.
func (f *full) Strike(ctx context.Context, s *Stage) (hit Hit, err error) {
	frozen := s.Relay.Processors()
	for _, p := range frozen {
		if err := p.Freeze(); err != nil {
			return Hit{}, err
		}
	}

	var before int64

	err = s.limit(ctx, func(info *jetstream.StreamInfo) int64 {
		before = info.Config.MaxBytes

		return int64(info.State.Bytes) + f.room
	})

	if err == nil {
		wait, cancel := context.WithTimeout(ctx, fullMost)
		_ = harness.Await(wait, natsRetry, func(ctx context.Context) (bool, error) {
			sample, err := s.Relay.Sample(ctx)
			if err == nil && isFull(sample) {
				hit.Times++
			}

			return hit.Times > 0, nil
		})

		cancel()
		s.Pass(ctx, 100, awayMost) // the source goes on
		err = s.limit(ctx, func(*jetstream.StreamInfo) int64 { return before })
	}

	for _, p := range frozen {
		err = errors.Join(err, p.Thaw())
	}

	return hit, err
}

func isFull(sample *relayv1.Stats) bool {
	for _, l := range sample.GetListeners() {
		if l.GetState() == relayv1.ListenerState_LISTENER_STATE_WAITING && strings.Contains(l.GetReason(), "full") {
			return true
		}
	}

	return false
}

// limit changes the most that the stream may hold.
func (s *Stage) limit(ctx context.Context, to func(*jetstream.StreamInfo) int64) error {
	var limit int64

	return s.OnStream(ctx, func(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) error {
		info, err := stream.Info(ctx)
		if err != nil {
			return err
		}

		if limit == 0 { // the answer to the first try may be what was lost
			limit = to(info)
		}

		config := info.Config
		config.MaxBytes = limit
		_, err = js.UpdateStream(ctx, config)

		return err
	})
}
