package event_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func ns(db, coll string) event.Namespace { return event.Namespace{DB: db, Coll: coll} }

func TestFilterTakes(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		include, exclude []string
		takes, leaves    []event.Namespace
	}{
		"everything": {
			takes:  []event.Namespace{ns("shop", "orders"), ns("shop", ""), ns("", ""), ns("shop", "a.system.b"), ns("administration", "x")},
			leaves: []event.Namespace{ns("admin", "x"), ns("config", "transactions"), ns("local", "oplog.rs"), ns("atlas_relay", "checkpoints"), ns("atlas_relay", ""), ns("shop", "system.views"), ns("shop", "system.buckets.weather")},
		},
		"one collection": {
			include: []string{"shop.orders", " web.fs.chunks "},
			takes:   []event.Namespace{ns("shop", "orders"), ns("web", "fs.chunks"), ns("shop", ""), ns("", "")},
			leaves:  []event.Namespace{ns("shop", "orders2"), ns("shop", "Orders"), ns("web", "fs"), ns("other", "orders"), ns("other", "")},
		},
		"a database without one": {
			include: []string{"shop.*"}, exclude: []string{"shop.logs"},
			takes:  []event.Namespace{ns("shop", "orders"), ns("shop", "")},
			leaves: []event.Namespace{ns("shop", "logs"), ns("web", "x"), ns("shop", "system.profile")},
		},
		"all without a database": {
			exclude: []string{"tmp.*", "shop.logs", "admin.*"},
			takes:   []event.Namespace{ns("shop", "orders"), ns("shop", ""), ns("", "")},
			leaves:  []event.Namespace{ns("tmp", "x"), ns("tmp", ""), ns("shop", "logs")},
		},
		"exclude wins": {
			include: []string{"shop.orders"}, exclude: []string{"shop.*"},
			leaves: []event.Namespace{ns("shop", "orders"), ns("shop", "")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f, err := event.ParseFilter(test.include, test.exclude)
			require.NoError(t, err)

			for _, ns := range test.takes {
				require.True(t, f.Takes(ns), "%+v", ns)
			}

			for _, ns := range test.leaves {
				require.False(t, f.Takes(ns), "%+v", ns)
			}
		})
	}
}

func TestParseFilterListsEveryBadPattern(t *testing.T) {
	t.Parallel()

	include := []string{"", "shop", "shop.", ".orders", "*", "*.orders", "shop.or*", "a b.c", "a.$cmd", "admin.*", "local.oplog.rs", "shop.system.views", "atlas_relay.checkpoints"}

	_, err := event.ParseFilter(append(include, "good.one"), []string{"bad", "good.*"})
	require.Error(t, err)

	for _, pattern := range append(include, "bad") {
		require.ErrorContains(t, err, `"`+pattern+`"`)
	}

	require.NotContains(t, err.Error(), "good")
}

func TestFilterTakesAllOfADatabase(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		include, exclude []string
		want             bool
	}{
		{want: true},
		{include: []string{"shop.*"}, want: true},
		{include: []string{"shop.orders", "shop.*"}, want: true},
		{include: []string{"shop.orders"}},
		{include: []string{"other.*"}},
		{exclude: []string{"shop.orders"}},
		{exclude: []string{"shop.*"}},
		{exclude: []string{"other.*"}, want: true},
	} {
		f, err := event.ParseFilter(test.include, test.exclude)
		require.NoError(t, err)
		require.Equal(t, test.want, f.TakesAll("shop"), "%+v", test)
		require.False(t, f.TakesAll("admin"))
	}
}
