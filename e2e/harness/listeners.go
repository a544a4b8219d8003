package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// AddListener makes one more listener, with settings of its own beside those of the relay; it is not started.
func (r *Relay) AddListener(ctx context.Context, env map[string]string) *Service {
	own := r.of(Listener)
	maps.Copy(own, env)

	name := fmt.Sprintf("%s-%d", Listener, len(r.standbys)+2)
	s := newService(name, r.programs.Path(Listener), nil, own, r.dir)
	s.keepOpsAddr(ctx)
	r.standbys = append(r.standbys, s)

	return s
}

// Listeners are all that there are, the first one first.
func (r *Relay) Listeners() []*Service { return slices.Concat([]*Service{r.Listener}, r.standbys) }

// Streams holds when this run of the listener says that it is the active one.
func (s *Service) Streams(sample *relayv1.Stats) bool {
	return s.in(sample, relayv1.ListenerState_LISTENER_STATE_STREAMING)
}

// StandsBy holds when this run of the listener says that it could take over.
func (s *Service) StandsBy(sample *relayv1.Stats) bool {
	return s.in(sample, relayv1.ListenerState_LISTENER_STATE_STANDBY)
}

func (s *Service) in(sample *relayv1.Stats, state relayv1.ListenerState) bool {
	pid := int64(s.Process().PID())

	return slices.ContainsFunc(sample.GetListeners(), func(l *relayv1.ListenerReport) bool {
		return l.GetInstance().GetPid() == pid && l.GetState() == state
	})
}
