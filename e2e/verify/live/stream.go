package live

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// Stream reads a flow's whole stream and says what is wrong with it, by the rule of verify.Stream. It returns how many
// events it holds, and how many processes have written them.
func Stream(ctx context.Context, js jetstream.JetStream, flow string) (events uint64, writers int, err error) {
	stream, err := record.OpenStream(ctx, js, flow)
	if err != nil {
		return 0, 0, err
	}

	rule := verify.NewStream(verify.StreamOptions{Partitions: stream.Partitions, Batch: stream.Publish == "batch"})

	for sequence := stream.First; sequence <= stream.Last; sequence++ {
		m, err := stream.At(ctx, sequence)
		if err != nil {
			return 0, 0, err
		}

		if err := rule.Add(&m); err != nil {
			return 0, 0, fmt.Errorf("stream of flow %s: %w", flow, err)
		}
	}

	return rule.Events, len(rule.Writers), nil
}
