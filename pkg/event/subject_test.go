package event_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

// awkward are names that would break or change a subject, and plain ones.
var awkward = map[string]event.Namespace{
	"cdc.f.03.shop.orders":              {DB: "shop", Coll: "orders"},
	"cdc.f.03.shop.%":                   {DB: "shop"},
	"cdc.f.03.%.%":                      {},
	"cdc.f.03.shop.fs%2Echunks":         {DB: "shop", Coll: "fs.chunks"},
	"cdc.f.03.shop.%2A%3E":              {DB: "shop", Coll: "*>"},
	"cdc.f.03.shop.a%20b%09%0D%0A%00":   {DB: "shop", Coll: "a b\t\r\n\x00"},
	"cdc.f.03.shop.%24a$b":              {DB: "shop", Coll: "$a$b"},
	"cdc.f.03.shop.100%25":              {DB: "shop", Coll: "100%"},
	"cdc.f.03.shop.%252E":               {DB: "shop", Coll: "%2E"},
	"cdc.f.03.Läden.注文":                 {DB: "Läden", Coll: "注文"},
	"cdc.f.03.shop.%FFa%C3":             {DB: "shop", Coll: "\xffa\xc3"},
	"cdc.f.03.shop.%7F%C2%85":           {DB: "shop", Coll: "\x7f\u0085"},
	"cdc.f.03.shop.\ufffd":              {DB: "shop", Coll: "\ufffd"},
	"cdc.f.03.shop.m":                   {DB: "shop", Coll: "m"},
	"cdc.f.03.shop.%2E%2E":              {DB: "shop", Coll: ".."},
	"cdc.f.03.shop.Orders-2026_final,v": {DB: "shop", Coll: "Orders-2026_final,v"},
}

func TestEventSubject(t *testing.T) {
	t.Parallel()

	for subject, ns := range awkward {
		require.Equal(t, subject, event.EventSubject("f", 3, ns))

		parsed, err := event.ParseSubject(subject)
		require.NoError(t, err)
		require.Equal(t, event.Subject{Flow: "f", Kind: event.KindEvent, Partition: 3, Namespace: ns}, parsed)
	}
}

func TestSubjectsOfAFlow(t *testing.T) {
	t.Parallel()

	require.Equal(t, "cdc.f.m", event.MarkerSubject("f"))
	require.Equal(t, "cdc.f.>", event.FlowFilter("f"))
	require.Equal(t, "cdc.f.00.>", event.PartitionFilter("f", 0))
	require.Equal(t, "cdc.f.255.>", event.PartitionFilter("f", 255))

	require.Equal(t, "cdc.f.00.b", event.BarrierSubject("f", 0))
	require.Equal(t, "cdc.f.255.b", event.BarrierSubject("f", 255))

	for subject, want := range map[string]event.Subject{
		"cdc.f.m":      {Flow: "f", Kind: event.KindMarker},
		"cdc.f.00.b":   {Flow: "f", Kind: event.KindBarrier},
		"cdc.f.12.b":   {Flow: "f", Kind: event.KindBarrier, Partition: 12},
		"cdc.f.12.b.b": {Flow: "f", Kind: event.KindEvent, Partition: 12, Namespace: event.Namespace{DB: "b", Coll: "b"}},
		"cdc.f.12.b.%": {Flow: "f", Kind: event.KindEvent, Partition: 12, Namespace: event.Namespace{DB: "b"}},
	} {
		parsed, err := event.ParseSubject(subject)
		require.NoError(t, err)
		require.Equal(t, want, parsed)
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	t.Parallel()

	for _, subject := range []string{
		"", "cdc", "cdc.", "cdc..m", "cdc.f", "cdc.f.m.x", "other.f.m", "cdc.f.03", "cdc.f.03.shop", "cdc.f.03.shop.", "cdc.f.03.b.", "cdc.f.3.b", "cdc.f.b", "cdc.f.03.m", "cdc.f.03..orders", "cdc.f.03.a.b.c",
		"cdc.f.3.a.b", "cdc.f.003.a.b", "cdc.f.-1.a.b", "cdc.f.+1.a.b", "cdc.f.0x.a.b", "cdc.f.99999.a.b", "cdc.f..a.b",
		"cdc.f.03.a.%2", "cdc.f.03.a.%zz", "cdc.f.03.a.%2e", "cdc.f.03.a.%61", "cdc.f.03.a.%C3%A4", "cdc.f.03.a.x%", "cdc.f.03.a.$b", "cdc.f.03.a.b c", "cdc.f.03.a.x%24", "cdc.f.03.a.\xff",
	} {
		_, err := event.ParseSubject(subject)
		require.ErrorIs(t, err, event.ErrMalformed, "%q", subject)
	}
}

// A real server routes each subject to the partition's filter and to no other.
func TestServerRoutesEverySubject(t *testing.T) {
	t.Parallel()

	nc := natstest.New(t).Connect(t)

	mine, err := nc.SubscribeSync(event.PartitionFilter("f", 3))
	require.NoError(t, err)
	all, err := nc.SubscribeSync("cdc.f.*.*.*")
	require.NoError(t, err)
	other, err := nc.SubscribeSync(event.PartitionFilter("f", 33))
	require.NoError(t, err)

	barriers, err := nc.SubscribeSync(event.BarrierSubject("f", 3))
	require.NoError(t, err)

	for subject := range awkward {
		require.NoError(t, nc.Publish(subject, nil))
	}

	for range awkward {
		for _, sub := range []*nats.Subscription{mine, all} {
			msg, err := sub.NextMsg(30 * time.Second)
			require.NoError(t, err)
			require.Contains(t, awkward, msg.Subject)
		}
	}

	require.NoError(t, nc.Publish(event.BarrierSubject("f", 3), nil))

	for _, sub := range []*nats.Subscription{mine, barriers} {
		msg, err := sub.NextMsg(30 * time.Second)
		require.NoError(t, err)
		require.Equal(t, "cdc.f.03.b", msg.Subject)
	}

	require.NoError(t, nc.Flush())

	pending, _, err := other.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}

func TestSubjectRoundTrip(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[$.*>% a\x00-\xff]{0,8}`))
		ns := event.Namespace{DB: name.Draw(t, "db"), Coll: name.Draw(t, "coll")}
		partition := rapid.IntRange(0, 9999).Draw(t, "partition")

		parsed, err := event.ParseSubject(event.EventSubject("f", partition, ns))
		require.NoError(t, err)
		require.Equal(t, event.Subject{Flow: "f", Kind: event.KindEvent, Partition: partition, Namespace: ns}, parsed)
	})
}

func FuzzSubject(f *testing.F) {
	for subject, ns := range awkward {
		f.Add(ns.DB, ns.Coll, subject)
	}

	f.Fuzz(func(t *testing.T, db, coll, subject string) {
		ns := event.Namespace{DB: db, Coll: coll}

		parsed, err := event.ParseSubject(event.EventSubject("f", 3, ns))
		require.NoError(t, err)
		require.Equal(t, ns, parsed.Namespace)

		if parsed, err = event.ParseSubject(subject); err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)
			return
		}

		switch parsed.Kind {
		case event.KindEvent:
			require.Equal(t, subject, event.EventSubject(parsed.Flow, parsed.Partition, parsed.Namespace))
		case event.KindBarrier:
			require.Equal(t, subject, event.BarrierSubject(parsed.Flow, parsed.Partition))
		case event.KindMarker:
			require.Equal(t, subject, event.MarkerSubject(parsed.Flow))
		}
	})
}

func BenchmarkEventSubject(b *testing.B) {
	b.ReportAllocs()

	for b.Loop() {
		_ = event.EventSubject("atlas-to-local", 3, shop)
	}
}

func BenchmarkParseSubject(b *testing.B) {
	b.ReportAllocs()

	for b.Loop() {
		_, _ = event.ParseSubject("cdc.atlas-to-local.03.shop.orders")
	}
}
