package telemetry

// Keys of log lines, span attributes and metric labels; one word per idea. A document key is never one of them: it is
// the user's data and has no bound.
const (
	KeyService     = "service"
	KeyFlow        = "flow"
	KeyPartition   = "partition"
	KeyEpoch       = "epoch"
	KeyNamespace   = "ns"
	KeyOperation   = "operation"
	KeyPosition    = "position"
	KeyStream      = "stream"
	KeyStreamSeq   = "stream_seq"
	KeyState       = "state"
	KeyReason      = "reason"
	KeyRemedy      = "remedy"
	KeyError       = "error"
	KeyAttempt     = "attempt"
	KeyWaitSeconds = "wait_seconds"
	KeyLagSeconds  = "lag_seconds"
	KeyEvents      = "events"
	KeyBytes       = "bytes"
	KeyTraceID     = "trace_id"
	KeySpanID      = "span_id"
)
