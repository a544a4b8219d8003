package topology

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoBucket says that a KV bucket does not exist. Only relayctl flow init makes
// one, also again.
var ErrNoBucket = errors.New("no bucket")

// MemberKey returns the key by which a processor takes part in a flow, in
// OwnersBucket.
func MemberKey(flow, instance string) string { return "m." + flow + "." + instance }

// PartitionKey returns the key whose holder owns the partition, in OwnersBucket.
func PartitionKey(flow string, partition int) string {
	return fmt.Sprintf("p.%s.%02d", flow, partition)
}

// LeaderKey returns the key whose holder is the flow's active listener, in
// OwnersBucket.
func LeaderKey(flow string) string { return "l." + flow }

// OwnersFilter returns what to watch to see a flow's members and the owners of
// its partitions. It is one filter: only a lone one stands in the subject of the
// request, where the server's permissions see it.
func OwnersFilter(flow string) string { return "*." + flow + ".>" }

// ParseMemberKey is the inverse of MemberKey; ok is false for a key of another
// kind or flow.
func ParseMemberKey(flow, key string) (instance string, ok bool) {
	instance, ok = strings.CutPrefix(key, MemberKey(flow, ""))

	return instance, ok && instance != ""
}

// ParsePartitionKey is the inverse of PartitionKey; ok is false for a key of
// another kind or flow.
func ParsePartitionKey(flow, key string) (partition int, ok bool) {
	text, ok := strings.CutPrefix(key, "p."+flow+".")
	partition, err := strconv.Atoi(text)

	return partition, ok && err == nil && partition >= 0 && PartitionKey(flow, partition) == key
}

// OpenOwners returns the bucket of leases after checking that its keys may have
// a TTL. Errors: ErrNoBucket, ErrConfigDiffers, or those of the connection.
func OpenOwners(ctx context.Context, js jetstream.KeyValueManager) (jetstream.KeyValue, error) {
	bucket, err := js.KeyValue(ctx, OwnersBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("open bucket %s: %w", OwnersBucket, ErrNoBucket)
	}

	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", OwnersBucket, err)
	}

	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask bucket %s: %w", OwnersBucket, err)
	}

	if status.LimitMarkerTTL() == 0 {
		return nil, fmt.Errorf("open bucket %s: %w: its keys cannot have a TTL", OwnersBucket, ErrConfigDiffers)
	}

	return bucket, nil
}
