package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

const (
	// pageSize is the largest page that the service gives, and the most names that it takes.
	pageSize     = 1000
	defaultLimit = 100
	// maxAnswer is above the largest event, which is 64 MiB.
	maxAnswer = 72 << 20
)

func (p *program) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Look at events that were given up, replay, refetch or discard them",
		Long: "Look at events that were given up, replay, refetch or discard them.\n\n" +
			"An event that the target refuses is set aside, with later ones of its document behind it, and retried. After\n" +
			"the last retry it is a dead letter: its document differs from the source until somebody acts, or until it is\n" +
			"written whole again.",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(p.listLetters(), p.showLetter(), p.actOnLetters(replay()), p.actOnLetters(refetch()), p.actOnLetters(discard()),
		p.letterProgress())

	return cmd
}

// letterFilter is what the flags of a filter say.
type letterFilter struct {
	namespace, since, until string
	operation               string
	code                    int32
}

func (f *letterFilter) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "only of this db.coll, or of all collections of a db")
	cmd.Flags().StringVar(&f.since, "since", "", "only what died since then: a time as 2026-11-25T12:00:00Z, or how long ago as 2h")
	cmd.Flags().StringVar(&f.until, "until", "", "only what died before then, as for --since")
	cmd.Flags().Int32Var(&f.code, "error-code", 0, "only with this code of the target's error, such as 121 or 11000")
	cmd.Flags().StringVar(&f.operation, "operation", "", "only what this operation did something to last; see relayctl dead-letters progress")
}

func (*letterFilter) given(cmd *cobra.Command) bool {
	return slices.ContainsFunc([]string{"namespace", "since", "until", "error-code", "operation"}, cmd.Flags().Changed)
}

// decode names all mistakes at once.
func (f *letterFilter) decode(cmd *cobra.Command, now time.Time) (*relayv1.DeadLetterFilter, error) {
	var (
		filter   = &relayv1.DeadLetterFilter{Operation: f.operation}
		mistakes []error
		err      error
	)

	if cmd.Flags().Changed("namespace") {
		// The first dot ends the database's name, which has none.
		db, coll, dotted := strings.Cut(f.namespace, ".")
		if db == "" || dotted && coll == "" {
			mistakes = append(mistakes, fmt.Errorf("--namespace %q: give db.coll or db", f.namespace))
		}

		filter.Namespace = &relayv1.Namespace{Database: db, Collection: coll}
	}

	if filter.Since, err = decodeTime("--since", f.since, now); err != nil {
		mistakes = append(mistakes, err)
	}

	if filter.Until, err = decodeTime("--until", f.until, now); err != nil {
		mistakes = append(mistakes, err)
	}

	if cmd.Flags().Changed("error-code") {
		filter.ErrorCode = &f.code
	}

	if len(mistakes) > 0 {
		return nil, &refusedError{what: errors.Join(mistakes...).Error(), next: "relayctl dead-letters list --help"}
	}

	return filter, nil
}

// decodeTime reads a time, or how long ago that was; nil for none.
func decodeTime(flag, text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no condition, which is no error
	}

	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return timestamppb.New(now.Add(-ago)), nil
	}

	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%s %q: give a time as 2026-11-25T12:00:00Z, or how long ago as 2h", flag, text)
	}

	return timestamppb.New(at), nil
}

func letterStates() []string {
	return []string{"waiting", "dead", "superseded", "discarded", "replayed", "refetched"}
}

// decodeStates reads a comma list of states, or "all".
func decodeStates(text string) ([]relayv1.ParkedState, error) {
	names := strings.Split(text, ",")
	if text == "all" {
		names = letterStates()
	}

	var states []relayv1.ParkedState

	for _, name := range names {
		if !slices.Contains(letterStates(), name) {
			return nil, &refusedError{
				what: fmt.Sprintf("--state %q is none of %s and all", name, strings.Join(letterStates(), ", ")), next: "relayctl dead-letters list --help",
			}
		}

		states = append(states, relayv1.ParkedState(relayv1.ParkedState_value["PARKED_STATE_"+strings.ToUpper(name)]))
	}

	return states, nil
}

func (p *program) listLetters() *cobra.Command {
	var (
		q      question
		w      watching
		filter letterFilter
		state  string
		limit  int
	)

	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest change first, without content of documents",
		Example: "  relayctl dead-letters list\n" +
			"  relayctl dead-letters list --namespace shop.orders --since 2h --error-code 121\n" +
			"  relayctl dead-letters list --state waiting          what is being retried\n" +
			"  relayctl dead-letters list --limit 0 -o json | jq -r '.dead_letters[].name'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conditions, err := filter.decode(cmd, time.Now())
			if err != nil {
				return err
			}

			states, err := decodeStates(state)
			if err != nil {
				return err
			}

			if limit < 0 {
				return &refusedError{what: "--limit is negative", next: "give a number, or 0 for all"}
			}

			return p.list(cmd.Context(), &w, func(ctx context.Context) (*listing, error) {
				found, err := fetchLetters(ctx, &q, &relayv1.ListDeadLettersRequest{Flow: q.flow, Filter: conditions, States: states}, limit)

				text := func(to io.Writer) error {
					if w.on && len(found.GetDeadLetters()) == 0 {
						_, err := fmt.Fprintln(to, "nothing matches")

						return err
					}

					return show.Letters(to, found.GetDeadLetters())
				}

				return &listing{message: found, text: text, notes: func() { p.noteLetters(found) }}, err
			})
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "the list once")
	filter.addFlags(cmd)
	cmd.Flags().StringVar(&state, "state", "dead", "comma list of "+strings.Join(letterStates(), ", ")+"; or all")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "most records; 0: all")

	_ = cmd.RegisterFlagCompletionFunc("state", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return append(letterStates(), "all"), cobra.ShellCompDirectiveNoFileComp
	}) // fails for a flag that is not there

	return cmd
}

// noteLetters says what can be done next.
func (p *program) noteLetters(found *relayv1.ListDeadLettersResponse) {
	switch {
	case len(found.GetDeadLetters()) == 0:
		fmt.Fprintln(p.err, "nothing matches")
	case found.GetNextPageToken() != "":
		fmt.Fprintf(p.err, "there are more than these %d: narrow the filter, or add --limit 0\n", len(found.GetDeadLetters()))
	default:
		fmt.Fprintln(p.err, "next: relayctl dead-letters show NAME")
	}
}

// fetchLetters reads page by page up to the limit; the token of the answer says that there is more.
func fetchLetters(ctx context.Context, q *question, request *relayv1.ListDeadLettersRequest, limit int) (*relayv1.ListDeadLettersResponse, error) {
	all := new(relayv1.ListDeadLettersResponse)

	err := withLetters(q, func(client relayv1.DeadLetterServiceClient) error {
		for {
			request.PageSize = pageSize
			if limit > 0 {
				request.PageSize = int32(min(pageSize, limit-len(all.GetDeadLetters()))) //nolint:gosec // at most pageSize
			}

			page, err := onePage(ctx, client, request)
			if err != nil {
				return err
			}

			all.DeadLetters = append(all.DeadLetters, page.GetDeadLetters()...)
			all.NextPageToken, request.PageToken = page.GetNextPageToken(), page.GetNextPageToken()

			if request.GetPageToken() == "" || limit > 0 && len(all.GetDeadLetters()) >= limit {
				return nil
			}
		}
	})

	return all, err
}

func onePage(ctx context.Context, client relayv1.DeadLetterServiceClient, request *relayv1.ListDeadLettersRequest) (*relayv1.ListDeadLettersResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	return client.ListDeadLetters(ctx, request)
}

// withLetters asks the service; its errors come back explained, others as they are.
func withLetters(q *question, ask func(relayv1.DeadLetterServiceClient) error) error {
	conn, err := q.dial(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return err
	}
	defer conn.Close()

	err = ask(relayv1.NewDeadLetterServiceClient(conn))
	if _, ofService := status.FromError(err); err == nil || !ofService {
		return err
	}

	return explain(err, q.server)
}

func (p *program) showLetter() *cobra.Command {
	var (
		q           question
		raw, masked bool
	)

	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one record with its event, and what the target has of the document",
		Long: "Show one record with its event, and what the target has of the document.\n\n" +
			"Contents of documents are for operators; a viewer is answered with --masked.",
		Example: "  relayctl dead-letters show \"$NAME\"\n" +
			"  relayctl dead-letters show \"$NAME\" --masked              without contents of documents\n" +
			"  relayctl dead-letters show \"$NAME\" --bson > event.bson     then: bsondump event.bson",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeLetters(&q),
		RunE: func(cmd *cobra.Command, args []string) error {
			view := relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL
			if masked {
				view = relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC
			}

			got, err := fetchLetter(cmd.Context(), &q, &relayv1.GetDeadLetterRequest{Flow: q.flow, Name: args[0], View: view})
			if err != nil {
				return err
			}

			switch {
			case raw && got.GetEventMissingBecause() != "":
				return fmt.Errorf("there is no event: %s", got.GetEventMissingBecause())
			case raw:
				_, err = p.out.Write(got.GetEventBson())
			case p.output == outputJSON:
				err = show.JSON(p.out, got)
			default:
				err = show.Letter(p.out, got)
			}

			return err
		},
	}

	p.addQuestionFlags(cmd, &q)
	cmd.Flags().BoolVar(&raw, "bson", false, "print nothing but the event's BSON")
	cmd.Flags().BoolVar(&masked, "masked", false, "leave out contents of documents: key, event, and what the target has")
	cmd.MarkFlagsMutuallyExclusive("bson", "masked")

	return cmd
}

func fetchLetter(ctx context.Context, q *question, request *relayv1.GetDeadLetterRequest) (got *relayv1.GetDeadLetterResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	err = withLetters(q, func(client relayv1.DeadLetterServiceClient) (err error) {
		got, err = client.GetDeadLetter(ctx, request)

		return err
	})

	return got, err
}

// completeLetters offers the names of dead letters to the shell.
func (*program) completeLetters(q *question) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()

		found, err := fetchLetters(ctx, q, &relayv1.ListDeadLettersRequest{Flow: q.flow}, defaultLimit)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}

		var names []string
		for _, l := range found.GetDeadLetters() {
			names = append(names, l.GetName())
		}

		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
