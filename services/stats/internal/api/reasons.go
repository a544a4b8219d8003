package api

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
)

// Reason is what ErrorInfo of an answer may say, for programs to branch on.
type Reason struct {
	Name   string
	Code   codes.Code
	Cause  string
	Remedy string
}

// Reasons are all that there are. An answer without one is an error of the protocol (CANCELLED, DEADLINE_EXCEEDED,
// UNIMPLEMENTED), or INTERNAL with an id beside which the log of the service has the cause.
func Reasons() []Reason {
	return []Reason{
		{reasonFlowRequired, codes.InvalidArgument, "the service watches several flows, and the request names none", "set the field `flow`: `--flow` or `FLOW` of relayctl"},
		{reasonFlowNotFound, codes.NotFound, "the service does not watch the flow that the request names; the field `flows` of the metadata lists those that it does", "name one of these, or add the flow to `TARGET_URIS` of the service"},
		{reasonInterval, codes.InvalidArgument, "a watch was asked for more samples than the service takes", "ask for a longer interval; the field `least` of the metadata says how long"},
		{reasonNobodyAnswers, codes.Unavailable, "neither NATS nor the target answers the service, so that it knows nothing of the flow", "check that both run and that the service reaches them: `relayctl doctor` from its host; then ask again, as RetryInfo says"},
		{reasonStopping, codes.Unavailable, "the service ends, and with it its watches", "connect again: another one, or its next run, answers"},
		{reasonArgument, codes.InvalidArgument, "a field of the request has a value that no waiting makes right; the field `field` of the metadata names it", "see the field's comment in [API.md](API.md)"},
		{reasonPageToken, codes.InvalidArgument, "the page token is none of this list, or came with another request", "begin with the first page, or repeat the request that the token came with"},
		{reasonNotFound, codes.NotFound, "no record has this name: it was applied after a retry, or its flow was deleted", "`relayctl dead-letters list --state all`"},
		{reasonNoOperation, codes.NotFound, "no action on dead letters has this name", "`relayctl audit` lists what was done; the answer to an action has its name"},
		{reasonTooManyPaused, codes.FailedPrecondition, "so many namespaces of the flow are paused already as there may be", "resume some, pause a whole database instead of its collections, or pause the flow"},
		{reasonPauseDamaged, codes.FailedPrecondition, "the flow's document in `atlas_relay.flows` of the target does not say what is paused: somebody has edited it", "mend it, or delete it: a flow without one runs"},
		{reasonManyWatches, codes.ResourceExhausted, "so many pages and watches over HTTP are open already as there may be", "close some, or ask over gRPC: `relayctl status`, `relayctl top`"},
		{reasonTarget, codes.Unavailable, "the target cannot be reached", "check that it runs and that the service reaches it; then ask again, as RetryInfo says"},
		{reasonForbidden, codes.FailedPrecondition, "the target does not let the service's user do this", "grant the role of [stats-role.js](mongodb/stats-role.js)"},
		{reasonNoToken, codes.Unauthenticated, "the caller showed neither a token nor a client certificate, and is not one who may do this without", "show one (`API_TOKEN`, or `STATS_CERT` with `STATS_KEY`), ask from the host of the service, or set `API_OPEN` there ([ADR 19](adr/0019-access.md))"},
		{reasonBadToken, codes.Unauthenticated, "the token is not in `API_TOKENS_FILE` of the service", "compare the two; the service reads its file again by itself"},
		{reasonRole, codes.PermissionDenied, "the caller's token or certificate has a role that may not do this; the field `role` of the metadata says which may", "use one of an operator, or give this one the role in `API_TOKENS_FILE`"},
	}
}

// WriteReasons writes them as rows of a table.
func WriteReasons(w io.Writer) error {
	for _, r := range Reasons() {
		if _, err := fmt.Fprintf(w, "| `%s` | `%s` | %s | %s |\n", r.Name, wireName(r.Code), r.Cause, r.Remedy); err != nil {
			return fmt.Errorf("write the reasons: %w", err)
		}
	}

	return nil
}

// wireName is the code as the protocol's documents write it: NOT_FOUND for NotFound.
func wireName(code codes.Code) string {
	var name strings.Builder

	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}

		name.WriteRune(letter)
	}

	return strings.ToUpper(name.String())
}
