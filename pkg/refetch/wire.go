package refetch

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// HeaderHead is the header of every message of an answer: a relayv1.RefetchHead, base64 without padding. Beside it
// stand event.HeaderPart and event.HeaderSize, as in messages of a stream, but always.
const HeaderHead = "Relay-Refetch"

// MaxSize is the largest document in bytes: what the server itself may store
// (https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size), and 16 KiB that it grants
// its own.
const MaxSize = 16<<20 + 16<<10

// ErrMalformed is wrapped by errors that say bytes are no request or answer of this package.
var ErrMalformed = errors.New("malformed")

// Request asks for a document.
type Request struct {
	Namespace   event.Namespace
	DocumentKey bson.Raw       // its _id decides
	NotBefore   bson.Timestamp // the image must hold every change up to it; zero: any
	Patience    time.Duration  // how long the asker waits
}

// Encode returns the payload of the request.
func (r *Request) Encode() ([]byte, error) {
	m := &relayv1.RefetchRequest{
		Namespace:   &relayv1.Namespace{Database: r.Namespace.DB, Collection: r.Namespace.Coll},
		DocumentKey: r.DocumentKey,
		Patience:    durationpb.New(r.Patience),
	}
	if !r.NotBefore.IsZero() {
		m.NotBefore = clusterTime(r.NotBefore)
	}

	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode refetch request: %w", err) // a name that is not UTF-8
	}

	return payload, nil
}

// DecodeRequest reads the payload of a request. Whether the key has an _id is left to event.NewKey. Errors wrap
// ErrMalformed.
func DecodeRequest(payload []byte) (Request, error) {
	var m relayv1.RefetchRequest
	if err := proto.Unmarshal(payload, &m); err != nil {
		return Request{}, fmt.Errorf("read refetch request: %w: %w", ErrMalformed, err)
	}

	if err := event.CheckDocument(m.GetDocumentKey()); err != nil {
		return Request{}, fmt.Errorf("read refetch request: %w: its key: %w", ErrMalformed, err)
	}

	return Request{
		Namespace:   event.Namespace{DB: m.GetNamespace().GetDatabase(), Coll: m.GetNamespace().GetCollection()},
		DocumentKey: m.GetDocumentKey(),
		NotBefore:   timestamp(m.GetNotBefore()),
		Patience:    m.GetPatience().AsDuration(),
	}, nil
}

// EncodeImage returns the messages of an answer to the reply subject, in the order to publish them. id is a random
// number of this answer. limit is the most payload bytes of one message, see event.PartLimit. The document is not
// copied.
func EncodeImage(reply string, id uint64, image Image, limit int) []*nats.Msg {
	head := &relayv1.RefetchHead{
		AnswerId: id,
		Outcome:  relayv1.RefetchOutcome_REFETCH_OUTCOME_ABSENT,
		Time:     clusterTime(image.Time),
	}

	if image.Document != nil {
		sum := sha256.Sum256(image.Document)
		head.Outcome, head.Sha256 = relayv1.RefetchOutcome_REFETCH_OUTCOME_PRESENT, sum[:]
	}

	return encode(reply, head, image.Document, limit)
}

// EncodeFailure returns the message of an answer that has no image.
func EncodeFailure(reply string, id uint64, failure *ReadError) *nats.Msg {
	return encode(reply, &relayv1.RefetchHead{
		AnswerId:  id,
		Outcome:   relayv1.RefetchOutcome_REFETCH_OUTCOME_FAILED,
		Reason:    strings.ToValidUTF8(failure.Reason, "?"),
		Transient: failure.Transient,
	}, nil, 1)[0]
}

func encode(reply string, head *relayv1.RefetchHead, document []byte, limit int) []*nats.Msg {
	// Fails only for text that is not UTF-8, and the only text was made so.
	encoded, _ := proto.MarshalOptions{Deterministic: true}.Marshal(head)
	text := base64.RawStdEncoding.EncodeToString(encoded)

	payloads := event.Split(document, limit)
	messages := make([]*nats.Msg, len(payloads))

	for i, payload := range payloads {
		messages[i] = &nats.Msg{Subject: reply, Data: payload, Header: nats.Header{
			HeaderHead:       {text},
			event.HeaderPart: {strconv.Itoa(i+1) + "/" + strconv.Itoa(len(payloads))},
			event.HeaderSize: {strconv.Itoa(len(document))},
		}}
	}

	return messages
}

// part is one message of an answer, decoded.
type part struct {
	head     *relayv1.RefetchHead
	encoded  string // head as it came: equal in all parts of an answer
	number   int    // from 1
	of       int
	size     int // bytes of the whole document
	document []byte
}

// decodePart reads a message of an answer. Errors wrap ErrMalformed.
func decodePart(m *nats.Msg) (part, error) {
	p := part{encoded: m.Header.Get(HeaderHead), document: m.Data, head: &relayv1.RefetchHead{}}

	encoded, err := base64.RawStdEncoding.DecodeString(p.encoded)
	if err == nil {
		err = proto.Unmarshal(encoded, p.head)
	}

	if err != nil || p.encoded == "" {
		return part{}, fmt.Errorf("read refetch answer: %w: header %s", ErrMalformed, HeaderHead)
	}

	number, of, _ := strings.Cut(m.Header.Get(event.HeaderPart), "/")
	if p.number, err = strconv.Atoi(number); err == nil {
		p.of, err = strconv.Atoi(of)
	}

	if err != nil || p.number < 1 || p.number > p.of {
		return part{}, fmt.Errorf("read refetch answer: %w: header %s", ErrMalformed, event.HeaderPart)
	}

	p.size, err = strconv.Atoi(m.Header.Get(event.HeaderSize))
	if err != nil || p.size < 0 || p.size > MaxSize {
		return part{}, fmt.Errorf("read refetch answer: %w: header %s", ErrMalformed, event.HeaderSize)
	}

	return p, nil
}

func clusterTime(t bson.Timestamp) *relayv1.ClusterTime {
	return &relayv1.ClusterTime{Seconds: t.T, Increment: t.I}
}

func timestamp(t *relayv1.ClusterTime) bson.Timestamp {
	return bson.Timestamp{T: t.GetSeconds(), I: t.GetIncrement()}
}
