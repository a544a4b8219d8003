package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/nearest"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/top"
)

func (p *program) top() *cobra.Command {
	var q question

	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show a flow on the whole terminal, live",
		Long: "Show a flow on the whole terminal, live: rates, lag and pending changes over time, the status with its reason,\n" +
			"partitions with their owners, listeners and processors, and dead letters by what they have in common.\n" +
			"The key ? lists the keys, q quits.",
		Example: "  relayctl top\n  relayctl top --flow atlas-to-local --context prod\n  relayctl stats --watch      where there is no terminal",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.output == outputJSON {
				return &refusedError{what: "top is for people and has no JSON", next: "relayctl stats --watch -o json prints an object a second"}
			}

			if !p.wholeTerminal() {
				return &refusedError{what: "top needs a terminal for input and output", next: "relayctl stats --watch prints a line a second anywhere"}
			}

			return p.runTop(cmd.Context(), &q)
		},
	}

	p.addQuestionFlags(cmd, &q)

	return cmd
}

// wholeTerminal tells whether a person is there, on a terminal that can be drawn on.
func (p *program) wholeTerminal() bool {
	return isTerminal(p.in) && p.isDrawable(p.out)
}

func (p *program) runTop(ctx context.Context, q *question) error {
	// The default waits of gRPC grow to two minutes, and a connection whose other end vanished is never noticed.
	conn, err := q.dial(
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 250 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return err
	}
	defer conn.Close()

	flow, several, err := firstFlow(ctx, conn, q)
	if err != nil {
		return err
	}

	feed := top.NewFeed(conn, func(err error) error { return explain(err, q.server) })
	screen := tea.NewProgram(top.New(top.Options{
		Server: q.server, Flow: flow, Choosing: several, Color: p.color(), ASCII: p.asciiOnly(), Now: time.Now(), Choose: feed.Choose,
	}), p.screenOptions()...)

	// Told by its context, bubbletea (v2.1.1) closes its input while it is still being read.
	defer context.AfterFunc(ctx, screen.Quit)()

	feedCtx, cancel := context.WithCancel(ctx)
	fed := make(chan struct{})

	go func() {
		defer close(fed)

		feed.Run(feedCtx, flow, screen.Send)
	}()

	_, err = screen.Run()

	cancel()
	<-fed

	if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return nil // the user's signal
	}

	return err
}

func (p *program) screenOptions() []tea.ProgramOption {
	options := []tea.ProgramOption{tea.WithInput(p.in), tea.WithOutput(p.out), tea.WithoutSignalHandler()}
	if !p.color() {
		options = append(options, tea.WithColorProfile(colorprofile.Ascii))
	}

	return options
}

// firstFlow is the flow to begin with, and whether there are several to choose from. What is wrong from the start ends
// the command: a screen that waits would hide it.
func firstFlow(ctx context.Context, conn *grpc.ClientConn, q *question) (flow string, several bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	response, err := relayv1.NewStatsServiceClient(conn).ListFlows(ctx, new(relayv1.ListFlowsRequest))
	if err != nil {
		return "", false, explain(err, q.server)
	}

	var names []string
	for _, f := range response.GetFlows() {
		names = append(names, f.GetName())
	}

	switch {
	case len(names) == 0:
		return "", false, &refusedError{what: "the stats service at " + q.server + " watches no flow", next: "set TARGET_URI there"}
	case q.flow == "":
		return names[0], len(names) > 1, nil
	case !slices.Contains(names, q.flow):
		return "", false, &refusedError{
			what: fmt.Sprintf("flow %q is not watched by the stats service at %s%s", q.flow, q.server, nearest.Question(q.flow, names)),
			next: "choose one of " + strings.Join(names, ", "),
		}
	default:
		return q.flow, false, nil
	}
}

// asciiOnly tells whether the locale says that the terminal knows no other letters. Without one it probably does.
func (p *program) asciiOnly() bool {
	locale := strings.ToLower(cmp.Or(p.environ["LC_ALL"], p.environ["LC_CTYPE"], p.environ["LANG"]))

	return locale != "" && !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
}
