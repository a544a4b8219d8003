package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Statistics is a client of a flow's statistics.
type Statistics struct {
	conn *grpc.ClientConn
}

// NewStatistics asks the service at an address; it need not run yet. The caller must Close it.
func NewStatistics(addr string, security credentials.TransportCredentials) (*Statistics, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(security))
	if err != nil {
		return nil, fmt.Errorf("make a client of the statistics: %w", err)
	}

	return &Statistics{conn: conn}, nil
}

// Close ends the client.
func (s *Statistics) Close() error { return s.conn.Close() }

// sampleTimeout bounds one question to the statistics.
const sampleTimeout = 5 * time.Second

// Sample asks the statistics once. It waits for a service that is being started, within a bound.
func (s *Statistics) Sample(ctx context.Context) (*relayv1.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()

	answer, err := relayv1.NewStatsServiceClient(s.conn).GetStats(ctx, &relayv1.GetStatsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("ask the statistics: %w", err)
	}

	return answer.GetStats(), nil
}

// DeadLetters are all of the flow in these states, as an operator lists them; without any, those that are dead.
func (s *Statistics) DeadLetters(ctx context.Context, states ...relayv1.ParkedState) (all []*relayv1.DeadLetter, err error) {
	client := relayv1.NewDeadLetterServiceClient(s.conn)

	for token := ""; ; {
		page, err := client.ListDeadLetters(ctx, &relayv1.ListDeadLettersRequest{PageToken: token, States: states})
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}

		all = append(all, page.GetDeadLetters()...)

		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// sampleEvery is how often a condition on the statistics is looked at. A sample reads the last message of every
// partition whole, so looking more often slows down what it waits for when documents are large.
const sampleEvery = 500 * time.Millisecond

// Await waits until a sample fulfils the condition and returns it. Trouble with the statistics is waited for too, a
// terminal state of the flow is not. When ctx ends, the error holds what was seen last.
func (s *Statistics) Await(ctx context.Context, what string, condition func(*relayv1.Stats) bool) (*relayv1.Stats, error) {
	var (
		last    *relayv1.Stats
		trouble error
	)

	err := Await(ctx, sampleEvery, func(ctx context.Context) (bool, error) {
		sample, err := s.Sample(ctx)
		if trouble = err; err != nil {
			return false, nil //nolint:nilerr // kept in trouble
		}

		last = sample

		return condition(sample), terminal(sample)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not come true: %w; last sample: %s", what, err, Line(last)), trouble)
	}

	return last, nil
}
