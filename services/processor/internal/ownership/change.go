package ownership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// make runs a schema change as often as the target's troubles make necessary. It returns the change's own error, or why
// it gave up: running ended while an index was built, which the server goes on with, or the lease ended.
func (l *lane) make(running, stop, work context.Context, c *schema.Change, prepared bson.Raw) error {
	if c.Builds() { // as long as it takes: whoever has the partition next joins in, or does it again with one effect
		building, cancel := context.WithCancel(work)
		defer cancel()
		defer context.AfterFunc(running, cancel)()

		work = building
	}

	defer l.tellOf(c)()

	tries, givenBack := 0, error(nil)

	err := retry.Do(stop, retry.Policy{Initial: firstBackoff, Max: maxBackoff, OnRetry: l.pause}, func(context.Context) error {
		if tries++; tries > 1 && l.mustHold() {
			givenBack = errGivenBack

			return nil
		}

		ctx := work

		if !c.Builds() {
			// What reaches the server late must not hit what somebody else has made by then.
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(work, l.lease.Deadline())

			defer cancel()
		}

		err := l.options.Schema.Execute(ctx, c, prepared)
		if err == nil {
			err = failpoint.Error(failpoint.SchemaMade)
		}

		if err != nil && (schema.IsOwn(err) || work.Err() != nil) {
			return retry.Permanent(err)
		}

		return err
	})

	return cmp.Or(err, givenBack)
}

// tellOf says what is made since when, once that takes longer.
func (l *lane) tellOf(c *schema.Change) (done func()) {
	since, end := time.Now(), make(chan struct{})

	var telling sync.WaitGroup

	telling.Go(func() {
		select {
		case <-time.After(quietWait):
			l.setState(Paused, fmt.Sprintf("the %s is made since %s", c, since.UTC().Format(time.TimeOnly)))
		case <-end:
		}
	})

	return func() {
		close(end)
		telling.Wait()
	}
}

// repeat makes a schema change again that waits in the lot, and refuses it if it fails for its own reason.
func (l *lane) repeat(stop, work context.Context, u *unit) error {
	item := &u.lot.Items[0]

	c, err := schema.Parse(&u.changes[0].Event)
	if err == nil {
		var prepared bson.Raw

		if prepared, err = l.options.Schema.Prepare(work, &c); err == nil {
			err = l.make(stop, stop, work, &c, prepared)
		}
	}

	l.setState(Applying, "")

	switch why, own := refusedChange(&c, err); {
	case errors.Is(err, schema.ErrUnsupported), errors.Is(err, event.ErrMalformed):
		u.lot.Refuse(item.Number, park.Refusal{Reason: parked.Failed, Text: err.Error(), Final: true})
	case own:
		u.lot.Refuse(item.Number, why)
	default:
		return err
	}

	return nil
}

// errorCode is the server's code of an error; 0 for none.
func errorCode(err error) int {
	if failed, ok := errors.AsType[mongo.ServerError](err); ok {
		for _, code := range failed.ErrorCodes() {
			return code
		}
	}

	return 0
}
