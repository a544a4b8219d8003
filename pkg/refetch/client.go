package refetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

const (
	// patience is how long a Client waits for an answer to begin, and then for each further part. The listener's two
	// reads are bounded by 5 s each (services/listener/internal/refetch).
	patience = 15 * time.Second
	// another is how long a Client goes on listening after an answer that says "not now": a listener that was the active
	// one and does not know better yet may be busy, or cut off from its source, while the present one still reads.
	another = time.Second
	// concurrent bounds the requests of a Client under way, and with them its memory: each collects one document while
	// at most pending bytes wait to be collected. The listener reads as many at a time.
	concurrent = 4
	// pending is two answers with their headers, as when a second listener answers too. What comes beyond it is
	// dropped, and then the answer is not whole.
	pending = 2 * (MaxSize + 1<<20)
)

// Client asks for documents. It is safe for concurrent use and starts no goroutine.
type Client struct {
	nc      *nats.Conn
	subject string
	slots   chan struct{} // holds one value per request under way
}

// New returns a client that asks the active listener of the flow over this connection.
func New(nc *nats.Conn, flow string) *Client {
	return &Client{nc: nc, subject: Subject(flow), slots: make(chan struct{}, concurrent)}
}

// Fetch returns the document with this key as the source has it: every change up to the image's Time is in it, and
// Time is at or after notBefore (the position of the event that does not fit; zero asks for nothing). Of the key the
// _id decides. The image's Document belongs to the caller.
//
// Errors: ErrNoListener when nobody answers, not in time (15 s, or the deadline of ctx) or not whole: ask again later.
// *ReadError when the listener answered without an image, and no other one with an image. The context's own error when it was cancelled. Otherwise the
// request itself is wrong: the key has no _id, or does not fit a message.
func (c *Client) Fetch(ctx context.Context, ns event.Namespace, documentKey bson.Raw, notBefore bson.Timestamp) (Image, error) {
	key, err := keyOf(ns, documentKey)
	if err != nil {
		return Image{}, fmt.Errorf("refetch a document of %s: %w", ns, err)
	}

	image, err := c.fetch(ctx, &Request{Namespace: ns, DocumentKey: documentKey, NotBefore: notBefore})
	if err == nil {
		err = check(image, ns, key, notBefore)
	}

	if err != nil {
		return Image{}, fmt.Errorf("refetch a document of %s: %w", ns, err)
	}

	return image, nil
}

// check makes sure that the image answers the question.
func check(image Image, ns event.Namespace, key event.Key, notBefore bson.Timestamp) error {
	if image.Time.Before(notBefore) {
		// The source was restored from a backup, or an old primary answered.
		return &ReadError{Transient: true, Reason: fmt.Sprintf(
			"the source answers as of %d.%d, which is before the event at %d.%d", image.Time.T, image.Time.I, notBefore.T, notBefore.I)}
	}

	if image.Document == nil {
		return nil
	}

	if got, err := keyOf(ns, image.Document); err != nil || got != key {
		return fmt.Errorf("%w: the answer is %w: another document", ErrNoListener, ErrMalformed)
	}

	return nil
}

// keyOf returns the identity that a document or a document key has by its _id.
func keyOf(ns event.Namespace, document bson.Raw) (event.Key, error) {
	id, err := document.LookupErr("_id")
	if err != nil {
		return "", fmt.Errorf("find _id: %w", ErrMalformed) // the driver's text may quote the document
	}

	return event.NewKey(ns, id)
}

func (c *Client) fetch(ctx context.Context, request *Request) (Image, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return Image{}, ended(ctx)
	}

	request.Patience = patience
	if deadline, ok := ctx.Deadline(); ok {
		request.Patience = min(patience, time.Until(deadline))
	}

	payload, err := request.Encode()
	if err != nil {
		return Image{}, err
	}

	inbox := c.nc.NewInbox()

	sub, err := c.nc.SubscribeSync(inbox)
	if err == nil {
		err = sub.SetPendingLimits(-1, pending)
	}

	if err != nil {
		return Image{}, fmt.Errorf("%w: subscribe to the answer: %w", ErrNoListener, err)
	}

	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection

	if err := c.nc.PublishRequest(c.subject, inbox, payload); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			return Image{}, &ReadError{Reason: fmt.Sprintf("the document key of %d bytes does not fit a message", len(request.DocumentKey))}
		}

		return Image{}, fmt.Errorf("%w: ask on %s: %w", ErrNoListener, c.subject, err)
	}

	return collect(ctx, sub)
}

// collect returns the first image that comes. An answer that says "not now" is returned when no other one follows it.
func collect(ctx context.Context, sub *nats.Subscription) (Image, error) {
	image, err := collectOne(ctx, sub, patience)

	var notNow *ReadError
	for errors.As(err, &notNow) && notNow.Transient {
		first := err
		if image, err = collectOne(ctx, sub, another); errors.Is(err, ErrNoListener) {
			return Image{}, first
		}
	}

	return image, err
}

// collectOne returns the answer that begins within the time given.
func collectOne(ctx context.Context, sub *nats.Subscription, within time.Duration) (Image, error) {
	var answer collector

	for {
		m, err := next(ctx, sub, within)
		if err != nil {
			return Image{}, err
		}

		p, err := decodePart(m)
		if err != nil {
			return Image{}, fmt.Errorf("%w: %w", ErrNoListener, err)
		}

		image, done, err := answer.add(&p)
		if errors.Is(err, ErrMalformed) {
			return Image{}, fmt.Errorf("%w: %w", ErrNoListener, err)
		}

		if done || err != nil {
			return image, err
		}

		within = patience
	}
}

// next waits for a message. An error other than that of a cancelled caller wraps ErrNoListener: nobody is there
// (nats.ErrNoResponders), nothing came in time, or something came and had to be dropped (nats.ErrSlowConsumer).
func next(ctx context.Context, sub *nats.Subscription, within time.Duration) (*nats.Msg, error) {
	patient, cancel := context.WithTimeout(ctx, within)
	defer cancel()

	m, err := sub.NextMsgWithContext(patient)

	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	default:
		return nil, fmt.Errorf("%w: %w", ErrNoListener, err)
	}
}

// ended tells a deadline, by which nobody had answered, from a caller who no longer wants to know.
func ended(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}

	return fmt.Errorf("%w: %w", ErrNoListener, ctx.Err())
}
