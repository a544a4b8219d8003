package capture

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// historySource returns the client whose change stream this session reads; give it back.
func (c *Capture) historySource(ctx context.Context) (source *mongo.Client, giveBack func(), err error) {
	if !c.atPrimary {
		return c.source, func() {}, nil
	}

	primary, err := c.options.Primary()
	if err != nil {
		return nil, nil, sourceTrouble(fmt.Errorf("read the source's primary: %w", err))
	}

	return primary, func() { _ = mongodb.Disconnect(ctx, primary) }, nil
}

// doubtLoss has the next session read the primary where this one, which did not, has
// lost the history: a secondary that was just synced, or has a smaller oplog, reaches
// back less far. Only what the primary does not have either is lost.
func (c *Capture) doubtLoss(err error) error {
	asked := c.atPrimary || c.options.Primary == nil
	c.atPrimary = false

	var trouble *interruption
	if asked || !errors.As(err, &trouble) || trouble.state != HistoryLost || !mongodb.IsHistoryLost(err) {
		return err
	}

	c.atPrimary = true

	return &interruption{
		state: Stalled, err: trouble.err,
		remedy: "the primary, which may have more history than the member that SOURCE_URI reads from, is asked next",
	}
}
