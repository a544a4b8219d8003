package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// askTimeout bounds one question to the stats service; it waits up to 2 s for a
// server that is away.
const askTimeout = 8 * time.Second

const serverVariable = "RELAY_STATS_ADDR"

// question is what status and stats ask.
type question struct {
	server  string
	flow    string
	environ map[string]string // for the token
	tls     tlsFlags
}

func (p *program) addQuestionFlags(cmd *cobra.Command, q *question) {
	p.addServerFlag(cmd, q)
	cmd.Flags().StringVar(&q.flow, "flow", p.environ["FLOW"], "name of the flow; empty: the only one of the service (FLOW)")
}

func (p *program) addServerFlag(cmd *cobra.Command, q *question) {
	server := p.environ[serverVariable]
	if server == "" {
		server = "127.0.0.1:50051"
	}

	q.environ = p.environ

	cmd.Flags().StringVar(&q.server, "server", server, "address of the stats service ("+serverVariable+"); it is shown the token of "+tokenVariable+" or "+tokenFileVariable)
	q.tls.add(cmd, p.environ)
}

func (p *program) status() *cobra.Command {
	var q question

	cmd := &cobra.Command{
		Use:   "status",
		Short: "Is it fine? One word, the reasons, the next step",
		Long: "Is it fine? One word, the reasons, the next step.\n\n" +
			"Exit code 0: OK. 1: DEGRADED, DIVERGED or DOWN. 3: UNKNOWN, or the stats service cannot be reached.",
		Example: "  relayctl status\n  relayctl status --server stats:50051 -o json\n  relayctl status || page-somebody",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stats, err := ask(cmd.Context(), &q)
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				err = show.JSON(p.out, stats)
			} else {
				err = show.Status(p.out, stats, p.color())
			}

			return errors.Join(err, verdict(stats))
		},
	}

	p.addQuestionFlags(cmd, &q)

	return cmd
}

// verdict turns the status into an exit code; the answer itself was printed.
func verdict(stats *relayv1.Stats) error {
	switch stats.GetStatus() {
	case relayv1.Status_STATUS_OK:
		return nil
	case relayv1.Status_STATUS_UNKNOWN:
		return &unreachableError{what: "the stats service answers, but cannot ask the servers that know"}
	default:
		return notFineError{}
	}
}

func (p *program) stats() *cobra.Command {
	var (
		q question
		w watching
	)

	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "The numbers of a flow",
		Example: "  relayctl stats\n  relayctl stats --watch\n  relayctl stats --watch -o json | jq .pending_changes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.on {
				return p.watch(cmd.Context(), &q, &w)
			}

			stats, err := ask(cmd.Context(), &q)
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				return show.JSON(p.out, stats)
			}

			return show.Stats(p.out, stats, p.color())
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "one line")

	return cmd
}

// watch prints samples until the user ends it, which is no failure.
func (p *program) watch(ctx context.Context, q *question, w *watching) error {
	if err := w.check(); err != nil {
		return err
	}

	conn, err := q.dial()
	if err != nil {
		return err
	}
	defer conn.Close()

	stream, err := relayv1.NewStatsServiceClient(conn).WatchStats(ctx, &relayv1.WatchStatsRequest{
		Flow: q.flow, Interval: durationpb.New(w.interval),
	})
	if err != nil {
		return explain(err, q.server)
	}

	lines := show.NewLines(p.out, p.color())

	for {
		response, err := stream.Recv()

		switch {
		case ctx.Err() != nil:
			return nil // the user's Ctrl-C
		case errors.Is(err, io.EOF):
			return &unreachableError{what: "the stats service at " + q.server + " ended the watch"}
		case err != nil:
			return explain(err, q.server)
		case p.output == outputJSON:
			err = show.JSONLine(p.out, response.GetStats())
		default:
			err = lines.Print(response.GetStats())
		}

		if err != nil {
			return err
		}
	}
}

// everyPage has read ask for one page after the other, each in a time of its own, until there is no more of them. Errors
// come back explained.
func (q *question) everyPage(ctx context.Context, read func(context.Context, relayv1.StatsServiceClient) (more bool, err error)) error {
	conn, err := q.dial()
	if err != nil {
		return err
	}
	defer conn.Close()

	client := relayv1.NewStatsServiceClient(conn)
	readOne := func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()

		return read(ctx, client)
	}

	for more := true; more; {
		if more, err = readOne(); err != nil {
			return explain(err, q.server)
		}
	}

	return nil
}

func ask(ctx context.Context, q *question) (*relayv1.Stats, error) {
	conn, err := q.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	response, err := relayv1.NewStatsServiceClient(conn).GetStats(ctx, &relayv1.GetStatsRequest{Flow: q.flow})
	if err != nil {
		return nil, explain(err, q.server)
	}

	return response.GetStats(), nil
}

func (q *question) dial(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	token, err := newBearer(q.environ)
	if err != nil {
		return nil, err
	}

	way, err := q.tls.open(q.server)
	if err != nil {
		return nil, err
	}

	conn, err := grpc.NewClient(q.server, append(append(more, way.options()...), grpc.WithPerRPCCredentials(token))...)
	if err != nil {
		return nil, &refusedError{what: fmt.Sprintf("--server %s: %v", q.server, err), next: "give host:port of the stats service's GRPC_ADDR"}
	}

	return conn, nil
}

// explain turns a status into what happened and what to do; the service says
// the latter itself where it answers.
func explain(err error, server string) error {
	if errors.As(err, new(*refusedError)) {
		return err // by the way there, not by the service
	}

	s := status.Convert(err)
	remedy := ""

	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			remedy = flowRemedy(info, info.GetMetadata()["remedy"])
		}
	}

	switch s.Code() {
	case codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition, codes.Unauthenticated, codes.PermissionDenied:
		return &refusedError{what: s.Message(), next: remedy}
	case codes.Unavailable, codes.DeadlineExceeded:
		if remedy != "" {
			return &unreachableError{what: s.Message(), next: remedy}
		}

		return &unreachableError{
			what: fmt.Sprintf("the stats service at %s cannot be reached: %s", server, s.Message()),
			next: "check that it runs and that --server or " + serverVariable + " names its GRPC_ADDR",
		}
	default:
		return fmt.Errorf("ask the stats service at %s: %w", server, err)
	}
}

// refusedError is input that no waiting makes right.
type refusedError struct{ what, next string }

func (e *refusedError) Error() string    { return e.what }
func (e *refusedError) NextStep() string { return e.next }
func (*refusedError) ExitCode() int      { return exitRefused }

// unreachableError is a server that cannot be reached.
type unreachableError struct{ what, next string }

func (e *unreachableError) Error() string    { return e.what }
func (e *unreachableError) NextStep() string { return e.next }
func (*unreachableError) ExitCode() int      { return 3 }
