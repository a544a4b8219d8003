package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// picturesVariable is a directory that gets pictures of the page in each state.
const picturesVariable = "E2E_PICTURES"

// contrast lists the texts that stand out too little from what is behind them (WCAG 2, 1.4.3), and those outside the
// screen.
const contrast = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };

  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);

  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !node.checkVisibility({ opacityProperty: true }) || node.closest(":disabled, noscript, script, .unseen, .skip, option")) continue;

    const style = getComputedStyle(node);
    const [a, b] = [luminance(rgba(style.color)), luminance(behind(node))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(text.slice(0, 40) + ": " + ratio.toFixed(2));
  }

  if (document.documentElement.scrollWidth > innerWidth) poor.push("the page is wider than the screen: " + document.documentElement.scrollWidth);

  return poor;
})()`

// looksRight checks the page on a desk, in the dark and on a phone, and takes pictures if somebody wants them.
func (b *browser) looksRight(name string) {
	b.t.Helper()

	for _, look := range []struct {
		name   string
		width  int64
		scheme string
	}{{"light", 1280, "light"}, {"dark", 1280, "dark"}, {"phone", 390, "light"}} {
		b.look(look.width, 844, look.scheme)
		b.is(fmt.Sprintf("innerWidth === %d && matchMedia('(prefers-color-scheme: %s)').matches", look.width, look.scheme), true)
		b.is(contrast+`.join("; ")`, "") // the charts take their new size a moment later

		dir := os.Getenv(picturesVariable)
		if dir == "" {
			continue
		}

		b.eval("scrollTo(0, 0)") // the head is where it is on the first look

		picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+"-"+look.name+".png"), picture, 0o600))
	}

	b.look(1280, 900, "light")
}

// crowd makes a flow with so many partitions, whose instances do nothing but report.
func (s *scenario) crowd(partitions, instances int) *harness.Crowd {
	s.t.Helper()

	require.NoError(s.t, s.relay.Init(s.t.Context()))

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)

	stream, err := topology.Open(s.t.Context(), js, "test")
	require.NoError(s.t, err)

	c := harness.NewCrowd("test", partitions, instances)
	require.NoError(s.t, c.Settle(s.t.Context(), s.world.Target.Client, stream.StreamID, partitions))

	ctx, cancel := context.WithCancel(s.t.Context())
	running := make(chan error, 1)

	go func() { running <- c.Run(ctx, js) }()

	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-running)
		nc.Close()
	})

	return c
}

// TestPageOfALargeFlow shows 64 partitions and 50 instances in every state, beginning before there is anything: all of it
// can be read and reached with the keyboard, on a phone too, and what names contain stays text.
func TestPageOfALargeFlow(t *testing.T) {
	const (
		partitions, instances = 64, 50

		evil = `<img src=x onerror="window.hacked=1">`
	)

	s := openWith(t, map[string]string{"PARTITIONS": "64"})
	require.NoError(t, s.world.NATS.Stop(t.Context()))
	require.NoError(t, s.relay.Stats.Start())

	_, err := s.relay.Sample(t.Context())
	require.NoError(t, err, "the target can be asked")

	b := browse(t, s.relay.PageURL())
	b.shows("#word", "UNKNOWN")
	b.shows("#reasons", "NATS")
	b.shows("#instances-none", "Nobody reports.")
	b.looksRight("1-before-nats")

	require.NoError(t, s.world.NATS.Start())
	b.shows("#word", "DOWN")
	b.shows("#reasons", "there is no stream CDC_test")
	b.shows("#next-step", "relayctl flow init")

	c := s.crowd(partitions, instances)
	b.shows("#word", "OK")
	b.is("document.querySelectorAll('#tiles button').length", float64(partitions))
	b.is("document.querySelectorAll('#instances tbody tr').length", float64(instances))
	b.shows("#partitions-summary", "64 applying")
	b.shows("#instances-summary", "2 listeners · 48 processors")
	b.shows("#sum", "Adds up")
	b.looksRight("2-ok")

	// One stop of the tabulator for all partitions, and one for all instances.
	b.tabTo("#tiles button")
	b.press(kb.ArrowRight, kb.Enter)
	b.shows("#detail-title", "Partition 1")
	b.shows("#detail-facts", "applying, since")
	b.press(kb.Escape)
	b.is("document.activeElement?.dataset.key", "1")
	b.tabTo("#instances button")
	b.press(kb.Enter)
	b.shows("#detail-title", "Listener relay-test")
	b.shows("#detail-facts", "STREAMING")
	b.looksRight("3-detail")
	b.press(kb.Escape)

	// A place can be sent to somebody.
	b.eval(`location.hash = "#flow=test&section=instances"`)
	b.is("document.activeElement?.id", "instances-title")
	b.reload()
	b.is("document.activeElement?.id", "instances-title")
	b.shows("#word", "OK")

	// One that says nothing is named, in its row too, until it is heard again.
	c.Silence(fmt.Sprintf("%016x", 9))
	b.shows("#reasons", "processor on relay-test-6d5f7c9b48-00009 (process 9) has said nothing for ")
	b.shows(`#instances tr[data-state="waits"]`, "SILENT")
	b.shows(`#instances tr[data-state="waits"]`, "relay-test-6d5f7c9b48-00009")
	b.shows("#instances-summary", "1 silent")
	b.looksRight("3-silent")

	// And then remembered, with what became of its work.
	b.shows(`#instances tr[data-state="gone"]`, "GONE")
	b.shows("#instances-summary", "1 gone")
	b.shows("#notes", "processor on relay-test-6d5f7c9b48-00009 (process 9) is gone: it has said nothing since ")
	b.shows("#notes", "without an owner")
	b.looksRight("3-gone")

	out, _, err := s.relay.Ctl(t.Context(), "status")
	require.NoError(t, err)
	require.Contains(t, out, "note:   processor on relay-test-6d5f7c9b48-00009 (process 9) is gone")

	c.Silence("")
	b.shows("#word", "OK")
	b.is("document.querySelectorAll('#instances tr[data-state=waits], #instances tr[data-state=gone]').length", 0.0)
	b.is("document.querySelector('#notes').hidden", true)

	c.Alter(func(listeners []*relayv1.ListenerReport, processors []*relayv1.ProcessorReport) {
		history := listeners[0]
		history.HistoryRemaining, history.HistoryTrend = durationpb.New(2*time.Hour), relayv1.HistoryTrend_HISTORY_TREND_SHRINKING
		history.HistoryLevel = relayv1.HistoryLevel_HISTORY_LEVEL_CRITICAL

		processors[3].Partitions[0].State = relayv1.PartitionState_PARTITION_STATE_PAUSED
		processors[3].Partitions[0].Reason = evil
		processors[5].Instance.Host = strings.Repeat("long-", 50)
		processors[6].Instance.Host = evil
		processors[7].Reason = "the target cannot be reached: " + evil
		processors[8].Partitions = nil
	})
	b.shows("#word", "DEGRADED")
	b.is("document.querySelectorAll('#tiles button')[3].dataset.state", "PAUSED")
	b.shows("#partitions-summary", "2 without an owner that reports (8, 56)")
	b.shows("#charts", "below HISTORY_CRITICAL, and shrinking")
	b.shows("#charts .chart[data-level=CRITICAL] .u-legend", "warns below")
	b.shows("#charts .chart[data-level=CRITICAL] .u-legend", "4.0 h") // the line of HISTORY_CRITICAL
	b.eval("document.querySelectorAll('#tiles button')[3].click()")
	b.shows("#detail-facts", "paused, since")
	b.shows("#detail-facts", evil)
	b.press(kb.Escape)
	b.looksRight("4-degraded")

	c.Alter(func(listeners []*relayv1.ListenerReport, _ []*relayv1.ProcessorReport) {
		for _, l := range listeners {
			l.State, l.Reason = relayv1.ListenerState_LISTENER_STATE_HISTORY_LOST, "the source no longer has the changes; relayctl flow accept-gap"
		}
	})
	b.shows("#word", "DOWN")
	b.shows("#instances", "HISTORY_LOST")
	b.looksRight("5-down")

	c.Alter(func(listeners []*relayv1.ListenerReport, _ []*relayv1.ProcessorReport) {
		listeners[0].State, listeners[1].State = relayv1.ListenerState_LISTENER_STATE_STREAMING, relayv1.ListenerState_LISTENER_STATE_STANDBY
	})
	s.unsupported(10_000, evil)
	b.shows("#word", "DIVERGED")
	b.shows("#reasons", "drop on "+evil)
	b.shows("#reasons", "more kinds and namespaces")
	b.looksRight("6-diverged")

	sample, err := s.relay.Sample(t.Context())
	require.NoError(t, err)
	require.Len(t, sample.GetUnsupported(), 100, "a sample goes to everybody every second")

	require.NoError(t, s.relay.Stats.Stop(t.Context()))
	b.shows("#word", "NO DATA")
	b.looksRight("7-no-data")

	require.Equal(t, true, b.eval("window.hacked === undefined && !document.querySelector('img')"), "what is in a name is no markup")
	b.requireNoTrouble()
}

// unsupported makes the target miss events of so many namespaces.
func (s *scenario) unsupported(namespaces int, name string) {
	s.t.Helper()

	all := make([]any, namespaces)
	for n := range all {
		ns := event.Namespace{DB: name, Coll: fmt.Sprintf("c%05d", n)}
		all[n] = checkpoint.UnsupportedDocument{
			ID: checkpoint.UnsupportedID("test", ns, "drop"), Flow: "test", DB: ns.DB, Coll: ns.Coll, Operation: "drop", Events: 1, Diverges: true,
		}
	}

	_, err := s.world.Target.Client.Database(checkpoint.Database).Collection(checkpoint.Unsupported).InsertMany(s.t.Context(), all)
	require.NoError(s.t, err)
}
