package refetch_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

var update = flag.Bool("update", false, "rewrite the golden files: a change of the contract between versions")

func golden(t *testing.T, name, got string) {
	t.Helper()

	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}

	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test ./refetch -update writes it")
	require.Equal(t, string(want), got, "%s is a contract with processors and listeners of other versions", path)
}

func shown(messages ...*nats.Msg) string {
	var b strings.Builder

	for _, m := range messages {
		fmt.Fprintln(&b, m.Subject)

		for _, name := range slices.Sorted(maps.Keys(m.Header)) {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(m.Header[name], " "))
		}

		fmt.Fprintf(&b, "\n%s", hex.Dump(m.Data))
	}

	return b.String()
}

func raw(t *testing.T, document any) bson.Raw {
	t.Helper()

	b, err := bson.Marshal(document)
	require.NoError(t, err)

	return b
}

func TestWireForm(t *testing.T) {
	t.Parallel()

	request := refetch.Request{
		Namespace:   event.Namespace{DB: "shop", Coll: "orders"},
		DocumentKey: raw(t, bson.D{{Key: "_id", Value: 7}, {Key: "region", Value: "eu"}}),
		NotBefore:   bson.Timestamp{T: 1700000000, I: 7},
		Patience:    15 * time.Second,
	}

	payload, err := request.Encode()
	require.NoError(t, err)
	golden(t, "request", shown(&nats.Msg{Subject: refetch.Subject("atlas-to-local"), Data: payload}))

	decoded, err := refetch.DecodeRequest(payload)
	require.NoError(t, err)
	require.Equal(t, request, decoded)

	const (
		inbox = "_INBOX.abc"
		id    = 0xfeed
	)

	image := refetch.Image{
		Document: raw(t, bson.D{{Key: "_id", Value: 7}, {Key: "price", Value: "twelve euros"}}),
		Time:     bson.Timestamp{T: 1700000009, I: 3},
	}
	golden(t, "present", shown(refetch.EncodeImage(inbox, id, image, 32)...))

	image.Document = nil
	golden(t, "absent", shown(refetch.EncodeImage(inbox, id, image, 32)...))
	golden(t, "failed", shown(refetch.EncodeFailure(inbox, id, &refetch.ReadError{Reason: "the flow does not copy shop.orders"})))
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()

	_, err := refetch.DecodeRequest([]byte("SELECT * FROM orders"))
	require.ErrorIs(t, err, refetch.ErrMalformed)
}
