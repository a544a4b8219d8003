package api

import (
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

const (
	// maxJSON is the largest event that is shown as JSON: that may be six times as large as its BSON, and nobody reads it.
	maxJSON = 1 << 20
	// maxText bounds texts of records, which anybody may have edited.
	maxText = 4 << 10
)

func parkedStates() map[relayv1.ParkedState]parked.State {
	return map[relayv1.ParkedState]parked.State{
		relayv1.ParkedState_PARKED_STATE_WAITING:    parked.Waiting,
		relayv1.ParkedState_PARKED_STATE_DEAD:       parked.Dead,
		relayv1.ParkedState_PARKED_STATE_SUPERSEDED: parked.Superseded,
		relayv1.ParkedState_PARKED_STATE_DISCARDED:  parked.Discarded,
		relayv1.ParkedState_PARKED_STATE_REPLAYED:   parked.Replayed,
		relayv1.ParkedState_PARKED_STATE_REFETCHED:  parked.Replaced,
	}
}

func encodeLetter(l *deadletter.Letter) *relayv1.DeadLetter {
	r := &l.Record
	if l.Unreadable != "" {
		return &relayv1.DeadLetter{Name: text(r.ID), UnreadableBecause: text(l.Unreadable)}
	}

	out := &relayv1.DeadLetter{
		Name:            text(r.ID),
		Rev:             unsigned(r.Rev),
		State:           relayv1.ParkedState(relayv1.ParkedState_value["PARKED_STATE_"+strings.ToUpper(string(r.State))]),
		Reason:          relayv1.ParkedReason(relayv1.ParkedReason_value["PARKED_REASON_"+strings.ToUpper(string(r.Reason))]),
		Namespace:       &relayv1.Namespace{Database: text(r.DB), Collection: text(r.Coll)},
		CollectionUuid:  encodeUUID(r.CollectionUUID),
		Operation:       text(string(r.Operation)),
		Partition:       uint32(unsigned(int64(r.Partition))), //nolint:gosec // at most topology.MaxPartitions
		Position:        topology.EncodePosition(r.Position),
		EventNumber:     unsigned(r.Number),
		Size:            unsigned(r.Size),
		Attempts:        uint32(unsigned(int64(r.Attempts))), //nolint:gosec // a few
		ErrorCode:       int32(r.Code),                       //nolint:gosec // codes of servers are small
		Error:           text(r.Error),
		CountedAsFailed: r.Counted,
		FirstTime:       encodeAnyTime(r.First),
		LastTime:        encodeAnyTime(r.Last),
		ChangeTime:      encodeAnyTime(r.Changed),
		TraceId:         telemetry.TraceID(r.TraceParent),
	}

	if r.IsRun() {
		out.RunEvents, out.RunEnd = unsigned(r.Events), topology.EncodePosition(r.Until)
	}

	for _, a := range r.Trail {
		out.Actions = append(out.Actions, &relayv1.DeadLetterAction{
			Action: text(a.Action), Who: text(a.Who), Why: text(a.Why), Time: encodeAnyTime(a.When),
		})
	}

	return out
}

// encodeContent adds the event. Whatever its bytes are, there is an answer.
func encodeContent(c *deadletter.Content) *relayv1.GetDeadLetterResponse {
	out := &relayv1.GetDeadLetterResponse{
		DeadLetter:          encodeLetter(&c.Letter),
		EventBson:           c.Event,
		EventMissingBecause: text(c.Missing),
		FollowersWaiting:    c.Followers,
	}

	if c.DocumentKey != nil {
		// A key that is no BSON is seen in the event, if at all.
		out.DocumentKeyJson, _ = extendedJSON(c.DocumentKey)
	}

	var err error

	switch {
	case c.Missing != "":
		out.EventJsonMissingBecause = "there is no event"
	case len(c.Event) > maxJSON:
		out.EventJsonMissingBecause = fmt.Sprintf("the event has %d bytes, more than %d are not shown as JSON", len(c.Event), maxJSON)
	default:
		if out.EventJson, err = extendedJSON(c.Event); err != nil {
			out.EventJsonMissingBecause = "the event is no BSON: " + text(err.Error())
		}
	}

	encodeTarget(out, c)

	return out
}

// encodeTarget adds the target's document.
func encodeTarget(out *relayv1.GetDeadLetterResponse, c *deadletter.Content) {
	for _, path := range c.Differing {
		out.DifferingPaths = append(out.DifferingPaths, text(path))
	}

	var err error

	switch {
	case c.Target == nil:
		out.TargetJsonMissingBecause = text(c.TargetMissing)
	case len(c.Target) > maxJSON:
		out.TargetJsonMissingBecause = fmt.Sprintf("the target's document has %d bytes, more than %d are not shown as JSON", len(c.Target), maxJSON)
	default:
		if out.TargetJson, err = extendedJSON(c.Target); err != nil {
			out.TargetJsonMissingBecause = "unknown: the target's document is no BSON: " + text(err.Error())
		}
	}
}

func encodeOperation(o *deadletter.Operation) *relayv1.DeadLetterOperation {
	out := &relayv1.DeadLetterOperation{
		Name: text(o.ID), Action: string(o.Verb), Who: text(o.Who), Why: text(o.Why), Time: encodeAnyTime(o.Time), Selection: text(o.Selection),
		FailedBecause: text(o.Failed), Waiting: o.Waiting, Applied: o.Applied, FailedAgain: o.FailedAgain, Superseded: o.Superseded,
		Discarded: o.Discarded, ActedOnAgain: o.ActedOnAgain, Done: o.Done,
	}

	if o.Outcome != nil {
		out.Outcome = encodeOutcome(o.Outcome)
	}

	for i := range o.Failures {
		out.Failures = append(out.Failures, encodeLetter(&o.Failures[i]))
	}

	return out
}

// extendedJSON is the relaxed form. JSON and protobuf hold UTF-8 only, BSON
// strings may hold anything: the driver puts U+FFFD in its place.
func extendedJSON(raw bson.Raw) (string, error) {
	if err := event.CheckEvent(raw); err != nil {
		return "", fmt.Errorf("encode as JSON: %w", err)
	}

	encoded, err := bson.MarshalExtJSON(raw, false, false)
	if err != nil {
		return "", fmt.Errorf("encode as JSON: %w", err)
	}

	return string(encoded), nil
}

// text makes a record's text fit for protobuf.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}

	return strings.ToValidUTF8(s, "\ufffd")
}

// encodeAnyTime leaves out what no Timestamp holds: BSON's dates reach much further.
func encodeAnyTime(t time.Time) *timestamppb.Timestamp {
	encoded := encodeTime(t)
	if !encoded.IsValid() {
		return nil
	}

	return encoded
}

func encodeUUID(b bson.Binary) string {
	const size = 16
	if len(b.Data) != size {
		return ""
	}

	return fmt.Sprintf("%x-%x-%x-%x-%x", b.Data[:4], b.Data[4:6], b.Data[6:8], b.Data[8:10], b.Data[10:])
}

func encodeOutcome(o *deadletter.Outcome) *relayv1.DeadLetterOutcome {
	out := &relayv1.DeadLetterOutcome{Matched: o.Matched, Changed: o.Changed, Refused: o.Refused}

	for _, r := range o.Refusals {
		out.Refusals = append(out.Refusals, &relayv1.DeadLetterRefusal{Name: text(r.Name), Reason: encodeRefusal(r.Reason), Message: text(r.Message)})
	}

	return out
}

func encodeRefusal(r deadletter.RefusalReason) relayv1.DeadLetterRefusalReason {
	switch r {
	case deadletter.NotFound:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND
	case deadletter.NotDead:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_DEAD
	case deadletter.NoEvent:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_EVENT
	case deadletter.OtherCollection:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_OTHER_COLLECTION
	case deadletter.Unreadable:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_UNREADABLE
	case deadletter.Unrepeatable:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_UNREPEATABLE
	case deadletter.NoDocument:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_DOCUMENT
	default:
		return relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_UNSPECIFIED
	}
}
