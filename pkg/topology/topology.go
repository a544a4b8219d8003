// Package topology is the flow's streams, buckets and consumers as code: their
// names, their configuration, and the check that the live ones are as declared.
//
// Services only Open. Creating is for relayctl, because a NATS server that
// cannot read a stream's files starts without it and says so in one line:
// whoever then "creates it if missing" has an empty stream, and nothing looks
// wrong. A live configuration that differs is an error, never overwritten.
package topology

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Names of the KV buckets, shared by all flows of an account.
const (
	OwnersBucket = "RELAY_OWNERS" // leases: who may work
	StatsBucket  = "RELAY_STATS"  // last report of each instance
)

// MaxPartitions bounds the partition count; every partition costs a consumer
// and a connection's worth of target transactions.
const MaxPartitions = 256

// duplicateWindow is the shortest that the server takes. The id chain makes it
// needless, and a long one costs 20 % of the publish rate.
const duplicateWindow = 100 * time.Millisecond

// StreamName returns the name of a flow's stream.
func StreamName(flow string) string { return "CDC_" + flow }

// ListenerReportKey returns the key of a listener's report in StatsBucket.
func ListenerReportKey(flow, instance string) string { return "l." + flow + "." + instance }

// ProcessorReportKey returns the key of a processor's report in StatsBucket.
func ProcessorReportKey(flow, instance string) string { return "p." + flow + "." + instance }

// Settings are what a flow's writer and readers must agree on. They are written
// into the stream's metadata when it is made and never change afterwards.
type Settings struct {
	StreamID    string   // random; tells this stream from a later one of its name
	Partitions  int      // 1 to MaxPartitions
	DDL         bool     // whether schema changes are replicated
	SkipOrigins []string // flows whose transactions the listener skips
	Source      string   // identity of the source, see mongodb.Hello
	FirstToken  string   // resume token of message 1, base64

	Publish PublishMode // how its messages follow each other; empty: PublishChain
	// Replicas of the stream; 0 is 1. It stands in the stream's configuration,
	// not in the metadata: with PublishBatch an operator may change it.
	Replicas int
}

// NewStreamID returns a fresh random stream id.
func NewStreamID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand

	return hex.EncodeToString(b[:])
}

// Names of the metadata entries.
const (
	metaStreamID    = "relay.stream_id"
	metaPartitions  = "relay.partitions"
	metaDDL         = "relay.ddl"
	metaSkipOrigins = "relay.skip_origins"
	metaPublish     = "relay.publish"
	metaSource      = "relay.source"
	metaFirstToken  = "relay.first_token"
)

func (s Settings) metadata() map[string]string {
	return map[string]string{
		metaStreamID:    s.StreamID,
		metaPartitions:  strconv.Itoa(s.Partitions),
		metaDDL:         strconv.FormatBool(s.DDL),
		metaSkipOrigins: strings.Join(s.SkipOrigins, ","),
		metaPublish:     string(s.Publish),
		metaSource:      s.Source,
		metaFirstToken:  s.FirstToken,
	}
}

// ErrForeignStream says that a stream has the flow's name but was not made by
// relayctl flow init, or by a version that this one does not understand.
var ErrForeignStream = errors.New("not a stream of this relay")

func parseMetadata(metadata map[string]string) (Settings, error) {
	s := Settings{
		StreamID:   metadata[metaStreamID],
		Source:     metadata[metaSource],
		FirstToken: metadata[metaFirstToken],
	}

	if list := metadata[metaSkipOrigins]; list != "" {
		s.SkipOrigins = strings.Split(list, ",")
	}

	var err error
	if s.Partitions, err = strconv.Atoi(metadata[metaPartitions]); err != nil || s.Partitions < 1 || s.Partitions > MaxPartitions {
		return Settings{}, fmt.Errorf("%w: metadata %s is %q", ErrForeignStream, metaPartitions, metadata[metaPartitions])
	}

	if s.DDL, err = strconv.ParseBool(metadata[metaDDL]); err != nil {
		return Settings{}, fmt.Errorf("%w: metadata %s is %q", ErrForeignStream, metaDDL, metadata[metaDDL])
	}

	if s.StreamID == "" {
		return Settings{}, fmt.Errorf("%w: metadata has no %s", ErrForeignStream, metaStreamID)
	}

	if s.Publish, err = ParsePublishMode(metadata[metaPublish]); err != nil {
		return Settings{}, fmt.Errorf("%w: metadata %s: %w", ErrForeignStream, metaPublish, err)
	}

	return s, nil
}

// StreamConfig returns the configuration of a flow's stream.
func StreamConfig(flow string, settings Settings, maxBytes int64) jetstream.StreamConfig {
	settings = settings.withDefaults()

	return jetstream.StreamConfig{
		Name:        StreamName(flow),
		Description: "changes of flow " + flow + "; its last message is the listener's checkpoint",
		Subjects:    []string{event.FlowFilter(flow)},
		// Work-queue and interest retention would delete the tail, and the tail
		// is the checkpoint.
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           maxBytes,
		MaxMsgs:            -1,
		Storage:            jetstream.FileStorage,
		Replicas:           settings.Replicas,
		Duplicates:         duplicateWindow,
		DenyDelete:         true,
		AllowRollup:        false,
		AllowDirect:        false, // a direct get may be answered by a stale replica
		AllowAtomicPublish: true,
		Metadata:           settings.metadata(),
	}
}

// OwnersConfig returns the configuration of the bucket of leases.
func OwnersConfig() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:         OwnersBucket,
		Description:    "leases of listeners and processors",
		Storage:        jetstream.FileStorage,
		LimitMarkerTTL: time.Hour, // allows a TTL per key
	}
}

// StatsConfig returns the configuration of the bucket of reports. A report is
// dropped a day after its last renewal; readers judge its age themselves.
func StatsConfig() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:      StatsBucket,
		Description: "last report of each listener and processor",
		Storage:     jetstream.FileStorage,
		TTL:         24 * time.Hour,
	}
}

// ConsumerName returns the name of the consumer of an ownership: one per
// partition and epoch, so that deleting it fences the owner before.
func ConsumerName(partition int, epoch uint64) string {
	return fmt.Sprintf("p%02d_%d", partition, epoch)
}

// ParseConsumerName is the inverse of ConsumerName; ok is false for a consumer
// of another kind.
func ParseConsumerName(name string) (partition int, epoch uint64, ok bool) {
	p, e, found := strings.Cut(strings.TrimPrefix(name, "p"), "_")
	if !found || !strings.HasPrefix(name, "p") {
		return 0, 0, false
	}

	partition, errPartition := strconv.Atoi(p)
	epoch, errEpoch := strconv.ParseUint(e, 10, 64)

	return partition, epoch, errPartition == nil && errEpoch == nil && partition >= 0
}

// ackWait is how long the server waits before it delivers again. Order and
// retries are the owner's affair (the checkpoint decides what is applied), so
// it is far above any batch.
const ackWait = 30 * time.Minute

// idleConsumer is how long the server keeps a consumer whose owner is gone. A
// later owner makes its own.
const idleConsumer = 24 * time.Hour

// ConsumerConfig returns the configuration of an owner's consumer that starts
// behind the checkpoint's sequence. The server keeps its state in memory: the
// checkpoint alone says where to go on, and an owner makes its consumer anew after
// each outage. State in a file would be written anew, as a whole and beside the old
// one, after every few acks.
func ConsumerConfig(flow string, partition int, epoch, checkpoint uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name:              ConsumerName(partition, epoch),
		Durable:           ConsumerName(partition, epoch),
		FilterSubject:     event.PartitionFilter(flow, partition),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       checkpoint + 1,
		AckPolicy:         jetstream.AckAllPolicy,
		AckWait:           ackWait,
		MaxAckPending:     -1, // pull requests bound what is in flight, in bytes
		InactiveThreshold: idleConsumer,
		MemoryStorage:     true,
	}
}
