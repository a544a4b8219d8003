// Package show prints statistics for people and for programs.
package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// JSON prints a message with all its fields, under the names of the proto.
func JSON(w io.Writer, m proto.Message) error { return printJSON(w, m, "  ") }

// JSONLine is JSON on one line.
func JSONLine(w io.Writer, m proto.Message) error { return printJSON(w, m, "") }

func printJSON(w io.Writer, m proto.Message, indent string) error {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}

	// protojson varies its blanks from build to build on purpose.
	var text bytes.Buffer
	if indent == "" {
		err = json.Compact(&text, encoded)
	} else {
		err = json.Indent(&text, encoded, "", indent)
	}

	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}

	text.WriteByte('\n')

	_, err = text.WriteTo(w)

	return err
}

// Status prints one word, the reasons and the next step.
func Status(w io.Writer, s *relayv1.Stats, color bool) error {
	var text strings.Builder

	fmt.Fprintf(&text, "%s  %s\n", word(s.GetStatus(), color), s.GetFlow())

	for _, reason := range s.GetReasons() {
		fmt.Fprintf(&text, "  reason: %s\n", plainText(reason)) // it may have words of a person
	}

	if s.GetNextStep() != "" {
		fmt.Fprintf(&text, "  next:   %s\n", plainText(s.GetNextStep())) // it may have a name of the source
	}

	for _, note := range s.GetNotes() {
		fmt.Fprintf(&text, "  note:   %s\n", plainText(note)) // it has names of hosts
	}

	if s.GetAtLeastOnce() {
		text.WriteString("  note:   changes are applied at least once: the target is a standalone mongod, which has no transactions\n")
	}

	_, err := io.WriteString(w, text.String())

	return err
}

// Stats prints the numbers of a flow.
func Stats(w io.Writer, s *relayv1.Stats, color bool) error {
	if err := Status(w, s, color); err != nil {
		return err
	}

	var text strings.Builder

	row := func(name, value string) { fmt.Fprintf(&text, "%-12s %s\n", name, plainText(value)) }

	text.WriteByte('\n')
	row("total", number(s.TotalChanges))
	row("processed", number(s.ProcessedChanges))
	row("failed", number(s.FailedChanges))
	row("skipped", number(s.SkippedChanges))
	row("pending", number(s.PendingChanges))
	row("  parked", number(s.ParkedChanges))
	row("sum", sum(s))
	row("dead letters", number(s.DeadLetters))
	row("batches", number(s.BatchesProcessed))
	row("in work", inWork(s))
	row("lag", duration(s.GetLag()))
	row("capture lag", duration(s.GetCaptureLag()))
	row("history", history(s))

	if stream := s.GetStream(); stream != nil {
		row("stream", fmt.Sprintf("%s, messages %d, %s%s", stream.GetName(), stream.GetMessages(), size(stream.GetBytes()), limit(stream.GetMaxBytes())))
	}

	silent := map[string]bool{}
	for _, i := range s.GetInstances() {
		silent[i.GetInstance().GetId()] = i.GetIsSilent()
	}

	does := func(i *relayv1.Instance, what string) string {
		if silent[i.GetId()] {
			what = Silent
		}

		return instance(i, what)
	}

	for _, l := range s.GetListeners() {
		row("listener", does(l.GetInstance(), strings.TrimPrefix(l.GetState().String(), "LISTENER_STATE_")))
	}

	for _, p := range s.GetProcessors() {
		row("processor", does(p.GetInstance(), fmt.Sprintf("partitions %d", p.GetPartitions())))
	}

	for _, u := range s.GetUnsupported() {
		row("not applied", unsupported(u))
	}

	for _, why := range s.GetUnknownBecause() {
		row("unknown", why)
	}

	_, err := io.WriteString(w, text.String())

	return err
}

func unsupported(u *relayv1.UnsupportedEvents) string {
	namespace := strings.TrimSuffix(u.GetNamespace().GetDatabase()+"."+u.GetNamespace().GetCollection(), ".")
	line := fmt.Sprintf("%s on %s, events %d", u.GetOperation(), namespace, u.GetEvents())

	if u.GetDiverges() {
		line += ", the target differs"
	}

	return line
}

func instance(i *relayv1.Instance, state string) string {
	return fmt.Sprintf("%s  %s, pid %d, id %s", state, i.GetHost(), i.GetPid(), i.GetId())
}

func inWork(s *relayv1.Stats) string {
	switch {
	case s.PendingBatchSize == nil:
		return absent
	case s.GetIsBatchProcessing():
		return number(s.PendingBatchSize) + ", applying"
	default:
		return number(s.PendingBatchSize)
	}
}

// sum is the verdict on total = processed + failed + skipped + pending.
func sum(s *relayv1.Stats) string {
	switch {
	case s.AddsUp != nil && s.GetAddsUp():
		return "adds up"
	case s.AddsUp != nil:
		return "DOES NOT ADD UP"
	case len(s.GetUnknownBecause()) > 0 && s.PendingChanges == nil:
		return absent
	default:
		return "not checked: the numbers moved while they were read"
	}
}

// absent stands for a number that is unknown.
const absent = "?"

func number(n *uint64) string {
	if n == nil {
		return absent
	}

	return strconv.FormatUint(*n, 10)
}

func duration(d *durationpb.Duration) string {
	if d == nil {
		return absent
	}

	return d.AsDuration().Round(time.Millisecond).String()
}

func size(bytes uint64) string {
	const step = 1024

	value, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}

	for value >= step && unit < len(units)-1 {
		value /= step
		unit++
	}

	return strconv.FormatFloat(value, 'f', min(unit, 1), 64) + " " + units[unit]
}

func limit(bytes uint64) string {
	if bytes == 0 {
		return ""
	}

	return " of " + size(bytes)
}

// ANSI escapes.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

func word(status relayv1.Status, color bool) string {
	text := strings.TrimPrefix(status.String(), "STATUS_")
	if !color {
		return text
	}

	switch status {
	case relayv1.Status_STATUS_OK:
		return green + text + plain
	case relayv1.Status_STATUS_DEGRADED, relayv1.Status_STATUS_UNKNOWN:
		return yellow + text + plain
	default:
		return red + text + plain
	}
}
