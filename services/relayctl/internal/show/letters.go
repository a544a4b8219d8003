package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Letters prints a table of records, without content of documents.
func Letters(w io.Writer, letters []*relayv1.DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}

	const gap = 2

	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tSINCE\tNAMESPACE\tOPERATION\tATTEMPTS\tSIZE\tCODE\tERROR")

	for _, l := range letters {
		if why := l.GetUnreadableBecause(); why != "" {
			fmt.Fprintf(table, "%s\tunreadable\t\t\t\t\t\t\t%s\n", plainText(l.GetName()), plainText(why))

			continue
		}

		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n", plainText(l.GetName()), state(l), moment(l.GetChangeTime()),
			namespace(l.GetNamespace()), plainText(l.GetOperation()), l.GetAttempts(), extent(l), l.GetErrorCode(), plainText(l.GetError()))
	}

	return table.Flush()
}

// Letter prints a record with its event.
func Letter(w io.Writer, got *relayv1.GetDeadLetterResponse) error {
	var text strings.Builder

	l := got.GetDeadLetter()
	row := func(name, value string) { fmt.Fprintf(&text, "%-12s %s\n", name, value) }

	row("name", plainText(l.GetName()))

	if why := l.GetUnreadableBecause(); why != "" {
		row("unreadable", plainText(why))
	} else {
		letterRows(row, got)
	}

	if got.GetEventMissingBecause() != "" {
		row("event", "missing: "+plainText(got.GetEventMissingBecause()))
	} else if got.GetEventJsonMissingBecause() != "" {
		row("event", "not shown: "+plainText(got.GetEventJsonMissingBecause())+"; add --bson for its bytes")
	} else if got.GetEventJson() != "" { // else nobody asked for contents
		text.WriteString("\n" + indented(got.GetEventJson()) + "\n")
	}

	target(&text, got)

	_, err := io.WriteString(w, text.String())

	return err
}

// target adds the target's document, and where it is not what the event says.
func target(text *strings.Builder, got *relayv1.GetDeadLetterResponse) {
	switch {
	case got.GetTargetJson() != "":
		text.WriteString("\nthe target has\n" + indented(got.GetTargetJson()) + "\n")
	case got.GetTargetJsonMissingBecause() != "":
		fmt.Fprintf(text, "\nthe target's document: %s\n", plainText(got.GetTargetJsonMissingBecause()))
	}

	for _, path := range got.GetDifferingPaths() {
		fmt.Fprintf(text, "differs: %s\n", plainText(path))
	}
}

func letterRows(row func(name, value string), got *relayv1.GetDeadLetterResponse) {
	l := got.GetDeadLetter()

	row("state", state(l)+" since "+moment(l.GetChangeTime()))
	row("reason", plainText(strings.ToLower(strings.TrimPrefix(l.GetReason().String(), "PARKED_REASON_"))))
	row("error", fmt.Sprintf("%s (code %d)", plainText(l.GetError()), l.GetErrorCode()))
	row("attempts", fmt.Sprintf("%d, the first at %s, the last at %s", l.GetAttempts(), moment(l.GetFirstTime()), moment(l.GetLastTime())))
	row("followers", strconv.FormatUint(got.GetFollowersWaiting(), 10)+" later changes of the document wait")
	row("namespace", namespace(l.GetNamespace()))
	row("operation", plainText(l.GetOperation()))
	row("document", plainText(got.GetDocumentKeyJson()))

	row("position", position(l.GetPosition()))
	row("partition", fmt.Sprintf("%d, event number %d of the flow", l.GetPartition(), l.GetEventNumber()))

	if n := l.GetRunEvents(); n > 0 {
		row("run", fmt.Sprintf("%d changes that are counted and not kept, the last at %s; the source's document takes their place",
			n, position(l.GetRunEnd())))
	} else {
		row("size", size(l.GetSize()))
	}

	if l.GetCollectionUuid() != "" {
		row("collection", l.GetCollectionUuid())
	}

	if l.GetTraceId() != "" {
		row("trace id", l.GetTraceId())
	}

	for _, a := range l.GetActions() {
		row("action", plainText(strings.TrimSuffix(fmt.Sprintf("%s %s by %s: %s", moment(a.GetTime()), a.GetAction(), a.GetWho(), a.GetWhy()), ": ")))
	}
}

func position(at *relayv1.Position) string {
	return fmt.Sprintf("%d.%d.%d, %s at the source", at.GetSeconds(), at.GetIncrement(), at.GetOrdinal(),
		time.Unix(int64(at.GetSeconds()), 0).Format(time.RFC3339))
}

// Outcome prints what an action did; done is its participle.
func Outcome(w io.Writer, o *relayv1.DeadLetterOutcome, done string) error {
	var text strings.Builder

	fmt.Fprintf(&text, "%s: %d of %d\n", done, o.GetChanged(), o.GetMatched())

	for _, r := range o.GetRefusals() {
		fmt.Fprintf(&text, "left as it is: %s: %s\n", plainText(r.GetName()), plainText(r.GetMessage()))
	}

	if more := o.GetRefused() - min(o.GetRefused(), uint64(len(o.GetRefusals()))); more > 0 {
		fmt.Fprintf(&text, "left as they are: %d more\n", more)
	}

	_, err := io.WriteString(w, text.String())

	return err
}

func state(l *relayv1.DeadLetter) string {
	return strings.ToLower(strings.TrimPrefix(l.GetState().String(), "PARKED_STATE_"))
}

// extent is how large an event is, or how many a run stands for.
func extent(l *relayv1.DeadLetter) string {
	if n := l.GetRunEvents(); n > 0 {
		return fmt.Sprintf("run of %d", n)
	}

	return size(l.GetSize())
}

func namespace(ns *relayv1.Namespace) string {
	return plainText(strings.TrimSuffix(ns.GetDatabase()+"."+ns.GetCollection(), "."))
}

func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return absent
	}

	return t.AsTime().Local().Format(time.RFC3339)
}

// indented is JSON on many lines, or as it is when it is none.
func indented(text string) string {
	var out bytes.Buffer
	if json.Indent(&out, []byte(text), "", "  ") != nil {
		return plainText(text)
	}

	return plainLines(out.String())
}

// plainText takes away whatever could steer a terminal: records hold text that others wrote.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}

		return unicode.ReplacementChar
	}, s)
}

func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plainText(lines[i])
	}

	return strings.Join(lines, "\n")
}

// Printable is a text of others that cannot steer a terminal.
func Printable(s string) string { return plainText(s) }
