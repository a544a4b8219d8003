package flow

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// PublishGapMarker publishes the marker of a gap, as AcceptGap does when the stream had not gone on a moment ago.
func PublishGapMarker(ctx context.Context, js jetstream.JetStream, stream *topology.Stream, source *mongo.Client, g *gap.Document) error {
	a := &acceptance{GapSettings: &GapSettings{}, js: js, stream: stream, source: source}

	return a.publishMarker(ctx, g)
}

// RefuseSource is what flow init asks of a source beside what a test's server can be.
func RefuseSource(hello mongodb.Hello, origins []string) error { return refuseSource(hello, origins) }

// Gaps returns the gaps that were ever accepted in a flow, the oldest first.
func Gaps(ctx context.Context, s *TargetSettings) ([]Gap, error) {
	target, _, err := connectMongo(ctx, "TARGET_URI", s.TargetURI, false)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	documents, err := gap.Load(ctx, target, s.Flow)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", s.TargetURI, err)
	}

	gaps := make([]Gap, len(documents)) // never null in JSON
	for i := range documents {
		gaps[i] = shownGap(&documents[i])
	}

	return gaps, nil
}
