package flow

import (
	"context"

	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

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
