// Package report keeps an instance's last report in the KV bucket RELAY_STATS.
//
// A report is a gauge for people: it may be late or missing, and nothing that
// must be exact depends on it. So trouble with the bucket never disturbs the
// work that is reported on.
package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// How often a report is put, at least. Readers take an instance for gone after Gone.
const (
	changedEvery   = time.Second     // while something changes
	unchangedEvery = 5 * time.Second // while nothing does
	Gone           = 15 * time.Second
)

// renewals of a report that fit into LEASE_TTL, as those of a lease do: two may fail before the instance is missed.
const renewals = 3

// pace is how often it is looked whether the report has changed, and after how many looks one that has not is put again.
func pace(leaseTTL time.Duration) (every time.Duration, looks int) {
	unchanged := min(unchangedEvery, leaseTTL/renewals)
	looks = int((unchanged + changedEvery - 1) / changedEvery)

	return unchanged / time.Duration(looks), looks
}

// One request to the bucket takes so long at most: what is under way must not use up the time of the next one.
const (
	putTimeout   = 2 * time.Second
	leastTimeout = 500 * time.Millisecond
)

// NewInstance identifies this process, which has this OPS_ADDR.
func NewInstance(opsAddr string) *relayv1.Instance {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand

	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}

	return &relayv1.Instance{
		Id:        hex.EncodeToString(id[:]),
		Host:      host,
		Pid:       int64(os.Getpid()),
		Version:   telemetry.Version(),
		StartTime: timestamppb.Now(),
		OpsAddr:   ownAddr(opsAddr),
	}
}

// ownAddr is an address that no other process of this host has; empty for none, and for a port that the system chooses.
func ownAddr(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || port == "0" {
		return ""
	}

	return addr
}

// Build makes the present report with the given report time.
type Build func(reportTime *timestamppb.Timestamp) proto.Message

// Run puts reports under key until ctx ends, and then deletes the key, so that
// an instance that stopped cleanly is gone at once. One that is not heard for
// leaseTTL has lost its leases: it reports three times as often. It returns nil.
func Run(ctx context.Context, js jetstream.KeyValueManager, key string, leaseTTL time.Duration, build Build, log *slog.Logger) error {
	every, looks := pace(leaseTTL)
	r := &reporter{js: js, key: key, build: build, looks: looks, timeout: min(putTimeout, max(leastTimeout, leaseTTL/renewals))}
	ticker := time.NewTicker(every)

	defer ticker.Stop()

	for {
		if err := r.put(ctx); err != nil {
			log.DebugContext(ctx, "report not put", slog.Any(telemetry.KeyError, err))
		}

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return r.remove(ctx)
		}
	}
}

type reporter struct {
	js      jetstream.KeyValueManager
	key     string
	build   Build
	looks   int // after so many a report that did not change is put again
	timeout time.Duration

	bucket jetstream.KeyValue // nil until it was found
	last   []byte             // last report put, without its time
	quiet  int                // looks since then
}

func (r *reporter) put(ctx context.Context) error {
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.build(nil))
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}

	if r.quiet++; bytes.Equal(content, r.last) && r.quiet < r.looks {
		return nil
	}

	value, err := proto.Marshal(r.build(timestamppb.Now()))
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()

	if r.bucket == nil {
		if r.bucket, err = OpenBucket(ctx, r.js); err != nil {
			return err
		}
	}

	if _, err := r.bucket.Put(ctx, r.key, value); err != nil {
		return fmt.Errorf("put key %s of bucket %s: %w", r.key, topology.StatsBucket, err)
	}

	if err := failpoint.Error(failpoint.ReportPut); err != nil {
		return err
	}

	r.last, r.quiet = content, 0

	return nil
}

// remove deletes the key. Whoever cannot be reached any more finds out by the
// report's age.
func (r *reporter) remove(ctx context.Context) error {
	if r.bucket == nil {
		return nil
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
	defer cancel()

	_ = r.bucket.Delete(ctx, r.key)

	return nil
}
