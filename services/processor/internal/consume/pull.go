package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// pullShare is the part of the budget that all pulls together may hold: enough
// for several batches of small events per partition, and little beside them.
const pullShare = 16

// maxPull stays below what nats.go keeps of a subscription (64 MiB,
// nats.DefaultSubPendingBytesLimit): it drops what exceeds that.
const maxPull = 48 << 20

// PullBytes is the most that a partition pulls ahead of what it has taken. It
// exceeds the largest message (event.MaxPart), or that one would never come: the
// server ends the request and the client asks again, without a word to its user.
func PullBytes(budget int64, partitions int, maxPayload int64) int {
	share := budget / int64(pullShare*partitions)

	return int(min(max(share, maxPayload+64<<10), maxPull))
}

// Remainder is what of the budget is left for events that were taken, at least
// a quarter: a server with a large max_payload pulls more than the budget has.
func Remainder(budget int64, partitions, pullBytes int) int64 {
	return max(budget-int64(partitions)*int64(pullBytes), budget/4)
}

// Pull settings: the server answers an idle request after pullExpiry, and says
// every pullHeartbeat that it is alive. A pull fails when it waits for twice that
// without a word: a request that got lost holds up its partition for so long.
const (
	pullExpiry    = 60 * time.Second
	pullHeartbeat = 2 * time.Second
)

// countNoMessages has the client ask again by bytes alone. Of a pull that is refused, being too small for the next message,
// it takes off as many messages as the pull was for, all there may be (jetstream.pullSubscription.checkPending of nats.go
// 1.55): by their number, which never falls below this, it would ask for as many bytes as were refused, again and again.
const countNoMessages = -1

// pull is the flow of messages from a consumer, bounded by bytes.
//
// It is bounded by bytes alone. A server whose pull is used up to the byte ends it
// without a word; a client that counts messages
// (jetstream.PullMaxMessagesWithBytesLimit) goes on waiting for the others of that
// pull. And it is a Consume whose handler waits until the message is taken, not a
// Messages: that one has a channel with room for the million messages that a pull
// without their number is for, 8 MB a partition.
type pull struct {
	consume jetstream.ConsumeContext
	next    chan jetstream.Msg
	stopped chan struct{}

	mu   sync.Mutex
	last error         // that the client has told of
	lost chan struct{} // has something when a heartbeat was missed
	once sync.Once     // closes stopped
}

var errEnded = errors.New("the client has ended it")

// startPull starts to pull at most this many bytes ahead of what is taken.
func startPull(consumer jetstream.Consumer, bytes int) (*pull, error) {
	p := &pull{next: make(chan jetstream.Msg), stopped: make(chan struct{}), last: errEnded, lost: make(chan struct{}, 1)}

	var err error

	p.consume, err = consumer.Consume(p.hand,
		jetstream.PullMaxBytes(bytes),
		jetstream.PullThresholdMessages(countNoMessages),
		jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { p.trouble(err) }),
	)
	if err != nil {
		return nil, fmt.Errorf("pull messages: %w", err)
	}

	return p, nil
}

// hand waits until the message is taken: so long the client asks for no more than
// fits the limit.
func (p *pull) hand(msg jetstream.Msg) {
	select {
	case p.next <- msg:
	case <-p.stopped:
	}
}

// trouble keeps an error. A missed heartbeat says that a request or its answers
// are lost; the client goes on by itself after all others, or ends.
func (p *pull) trouble(err error) {
	p.mu.Lock()
	p.last = err
	p.mu.Unlock()

	if !errors.Is(err, jetstream.ErrNoHeartbeat) {
		return
	}

	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// take waits for the next message. A pull that returned an error is of no further
// use.
func (p *pull) take(ctx context.Context) (jetstream.Msg, error) {
	select {
	case msg := <-p.next:
		return msg, nil
	case <-p.lost:
		return nil, fmt.Errorf("pull messages: %w", jetstream.ErrNoHeartbeat)
	case <-p.consume.Closed():
		p.mu.Lock()
		defer p.mu.Unlock()

		return nil, fmt.Errorf("pull messages: %w", p.last)
	case <-ctx.Done():
		return nil, fmt.Errorf("pull messages: %w", ctx.Err())
	}
}

// stop ends the pull; a take that waits returns an error.
func (p *pull) stop() {
	p.once.Do(func() { close(p.stopped) })
	p.consume.Stop()
}
