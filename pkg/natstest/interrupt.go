package natstest

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// Interrupt returns the client with which something happens right before it asks a stream for the last message of the
// subject.
func Interrupt(js jetstream.JetStream, subject string, happens func()) jetstream.JetStream {
	return interrupted{js, subject, happens}
}

type interrupted struct {
	jetstream.JetStream

	subject string
	happens func()
}

func (i interrupted) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := i.JetStream.Stream(ctx, name)

	return interruptedStream{s, i.subject, i.happens}, err
}

type interruptedStream struct {
	jetstream.Stream

	subject string
	happens func()
}

func (i interruptedStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	if subject == i.subject {
		i.happens()
	}

	return i.Stream.GetLastMsgForSubject(ctx, subject) //nolint:wrapcheck // the client's own answer
}
