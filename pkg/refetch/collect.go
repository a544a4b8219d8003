package refetch

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// collector puts the parts of one answer together. It follows the first answer whose first part it sees and passes
// over the parts of others, so its memory is one document. The zero collector is ready; after done or an error it is
// of no use.
type collector struct {
	following string // the head of the answer followed; empty before the first part
	of, size  int
	next      int // number of the part that is due
	document  []byte
}

// add takes the next message that came. done says that the image is whole. Errors: *ReadError when the listener said
// that there is no image, else ErrMalformed: what came is not one answer, whole and in order.
func (c *collector) add(p *part) (image Image, done bool, err error) {
	if c.following == "" {
		c.following, c.of, c.size, c.next = p.encoded, p.of, p.size, 1
	}

	if p.encoded != c.following || p.number < c.next {
		return Image{}, false, nil // of another listener, or a part that came twice
	}

	if p.number != c.next || p.of != c.of || p.size != c.size {
		return Image{}, false, fmt.Errorf("refetch answer: %w: part %d of %d where part %d of %d was due", ErrMalformed, p.number, p.of, c.next, c.of)
	}

	if len(c.document)+len(p.document) > c.size {
		return Image{}, false, fmt.Errorf("refetch answer: %w: more than its %d bytes", ErrMalformed, c.size)
	}

	if c.document == nil {
		c.document = make([]byte, 0, c.size)
	}

	c.document = append(c.document, p.document...)
	c.next++

	if c.next <= c.of {
		return Image{}, false, nil
	}

	image, err = c.finish(p.head)

	return image, err == nil, err
}

func (c *collector) finish(head *relayv1.RefetchHead) (Image, error) {
	image := Image{Time: timestamp(head.GetTime())}

	switch head.GetOutcome() {
	case relayv1.RefetchOutcome_REFETCH_OUTCOME_FAILED:
		return Image{}, &ReadError{Reason: head.GetReason(), Transient: head.GetTransient()}
	case relayv1.RefetchOutcome_REFETCH_OUTCOME_PRESENT:
		sum := sha256.Sum256(c.document)
		if len(c.document) != c.size || !bytes.Equal(sum[:], head.GetSha256()) {
			return Image{}, fmt.Errorf("refetch answer: %w: its %d bytes are not the document that was sent", ErrMalformed, len(c.document))
		}

		if err := event.CheckDocument(c.document); err != nil {
			return Image{}, &ReadError{Reason: "the document of the answer cannot be read: " + err.Error()}
		}

		image.Document = bson.Raw(c.document)
	case relayv1.RefetchOutcome_REFETCH_OUTCOME_ABSENT:
		if c.size > 0 {
			return Image{}, fmt.Errorf("refetch answer: %w: an absent document of %d bytes", ErrMalformed, c.size)
		}
	default:
		return Image{}, fmt.Errorf("refetch answer: %w: outcome %d", ErrMalformed, head.GetOutcome())
	}

	if image.Time.IsZero() {
		return Image{}, fmt.Errorf("refetch answer: %w: no time", ErrMalformed)
	}

	return image, nil
}
