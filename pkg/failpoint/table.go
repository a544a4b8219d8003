package failpoint

// The services that have points.
const (
	Listener  = "listener"
	Processor = "processor"
	Stats     = "stats"
)

// The points, in the order of the data. What each one means stands in Table.
const (
	TailRead          Point = "listener.tail-read"
	SourceOpened      Point = "listener.source-opened"
	SourceRead        Point = "listener.source-read"
	EventSkipped      Point = "listener.event-skipped"
	PartSent          Point = "listener.part-sent"
	PublishSent       Point = "listener.publish-sent"
	PublishAcked      Point = "listener.publish-acked"
	MarkerSent        Point = "listener.marker-sent"
	RewindFound       Point = "listener.rewind-found"
	GenerationBegun   Point = "listener.generation-begun"
	Led               Point = "listener.leads"
	StoodBack         Point = "listener.stands-back"
	PurgeDecided      Point = "listener.purge-decided"
	PurgeSent         Point = "listener.purge-sent"
	RefetchTaken      Point = "listener.refetch-taken"
	RefetchTimed      Point = "listener.refetch-timed"
	RefetchSent       Point = "listener.refetch-sent"
	ReportPut         Point = "report.put"
	LeaseTaken        Point = "lease.taken"
	LeaseRenewed      Point = "lease.renewed"
	LeaseReleased     Point = "lease.released"
	LeaseHeld         Point = "processor.lease-held"
	CheckpointRead    Point = "processor.checkpoint-read"
	SessionEnded      Point = "processor.session-ended"
	EpochRaised       Point = "processor.epoch-raised"
	ParkedLoaded      Point = "processor.parked-loaded"
	ConsumerCreated   Point = "processor.consumer-created"
	ConsumerDeleted   Point = "processor.consumer-deleted"
	MessagePulled     Point = "processor.message-pulled"
	BatchClosed       Point = "processor.batch-closed"
	TransactionBegun  Point = "processor.transaction-begun"
	ScoutsWritten     Point = "processor.scouts-written"
	CheckpointWritten Point = "processor.checkpoint-written"
	WritesDone        Point = "processor.writes-done"
	CommitSent        Point = "processor.commit-sent"
	InDoubt           Point = "processor.in-doubt"
	IntentsWritten    Point = "processor.intents-written"
	WrittenAlone      Point = "processor.written-alone"
	DebtsOwed         Point = "processor.debts-owed"
	Committed         Point = "processor.committed"
	ParkedWritten     Point = "processor.parked-written"
	DeadMarked        Point = "processor.dead-marked"
	BatchRerun        Point = "processor.batch-rerun"
	RecordsReloaded   Point = "processor.records-reloaded"
	Acked             Point = "processor.acked"
	ParkedRetried     Point = "processor.parked-retried"
	RefetchAsked      Point = "processor.refetch-asked"
	RefetchAnswered   Point = "processor.refetch-answered"
	BarrierArrived    Point = "processor.barrier-arrived"
	SchemaPrepared    Point = "processor.schema-prepared"
	SchemaClaimed     Point = "processor.schema-claimed"
	SchemaMade        Point = "processor.schema-made"
	BarrierLeft       Point = "processor.barrier-left"
	MarkerReached     Point = "processor.marker-reached"
	Drained           Point = "processor.drained"
	HoleMet           Point = "processor.hole-met"
	PlaceMoved        Point = "processor.place-moved"
	StatsCheckpoints  Point = "stats.checkpoints-read"
	StatsSampled      Point = "stats.sampled"
	AuditBegun        Point = "stats.audit-begun"
	LettersChanged    Point = "stats.letters-changed"
	PauseWritten      Point = "stats.pause-written"
)

// Place is where a point stands.
type Place struct {
	Point  Point
	In     []string // services that pass it
	Errors bool     // it can return an error; the others can only end or wait
	Means  string   // what is so at this moment
}

// Table lists every point. Each stands at exactly one place of the code.
func Table() []Place {
	listener, processor, stats, both := []string{Listener}, []string{Processor}, []string{Stats}, []string{Listener, Processor}

	return []Place{
		{TailRead, listener, true, "the stream's tail is read; nothing is built on it yet"},
		{SourceOpened, listener, true, "the change stream is open behind the tail; nothing was read from it"},
		{SourceRead, listener, true, "changes were read from the source and are not with the publisher yet"},
		{EventSkipped, listener, true, "an event was counted as skipped; no message says so yet"},
		{PartSent, listener, true, "a message of an event was sent, and more of that event follow"},
		{PublishSent, listener, true, "a message is on its way to the stream; whether it is stored is not known"},
		{PublishAcked, listener, true, "the server has said that messages are stored"},
		{MarkerSent, listener, true, "a marker is on its way to the stream"},
		{RewindFound, listener, true, "the stream has to be rewound and it is known to where; nothing says so yet"},
		{GenerationBegun, listener, true, "the marker of a new generation is on its way; the session still takes itself for one that has to send it"},
		{Led, listener, false, "the listener has the flow's lease and has done nothing with it"},
		{StoodBack, listener, false, "the listener has stopped and is about to give the lease back"},
		{PurgeDecided, listener, false, "it is decided up to where the stream is purged; meanwhile anything may change"},
		{PurgeSent, listener, true, "the stream is purged and nobody has taken note"},
		{RefetchTaken, listener, false, "a document was asked for and is about to be read"},
		{RefetchTimed, listener, true, "the time of an image is taken and the image is not read yet"},
		{RefetchSent, listener, true, "a part of an image was sent to the processor that asked"},
		{ReportPut, both, true, "a report is in the bucket and the reporter does not know"},
		{LeaseTaken, both, true, "the server has stored a lease; with an error its holder does not know"},
		{LeaseRenewed, both, true, "the server has stored a renewal; with an error its holder does not know"},
		{LeaseReleased, both, true, "the holder has ended its lease and is about to delete the key; with an error it stays until it expires"},
		{LeaseHeld, processor, false, "the processor may work on a partition and has not begun"},
		{CheckpointRead, processor, true, "the checkpoint was read and its epoch is not raised yet"},
		{SessionEnded, processor, true, "the transactions of the owner before are ended and the epoch is not raised yet"},
		{EpochRaised, processor, true, "the epoch is raised in the target; with an error its owner does not know"},
		{ParkedLoaded, processor, true, "what is parked was read by a new owner"},
		{ConsumerCreated, processor, true, "the consumer of an ownership exists; with an error its owner does not know"},
		{ConsumerDeleted, processor, false, "a consumer of an earlier ownership is deleted; others are not yet"},
		{MessagePulled, processor, true, "a message was delivered and not looked at"},
		{BatchClosed, processor, false, "a batch is handed over to be applied"},
		{TransactionBegun, processor, true, "a transaction is begun and the target knows nothing of it"},
		{ScoutsWritten, processor, true, "checkpoint and suspects are written, the rest of the batch is not"},
		{CheckpointWritten, processor, true, "the checkpoint is written in the transaction, the data is not; on a target without the command bulkWrite"},
		{WritesDone, processor, true, "everything is written in the transaction and nothing is committed"},
		{CommitSent, processor, true, "the target has committed; with an error the reply is cut and the outcome unknown"},
		{InDoubt, processor, true, "the outcome of a transaction is about to be read from the checkpoint"},
		{IntentsWritten, processor, true, "what is parked is announced, nothing else is written; on a target without transactions"},
		{WrittenAlone, processor, true, "the data is written and the checkpoint has not moved; without a transaction"},
		{DebtsOwed, processor, true, "the checkpoint has moved and owes what it names; without a transaction"},
		{Committed, processor, false, "a batch is committed and not acked"},
		{ParkedWritten, processor, false, "a refused event is parked, with the checkpoint behind it"},
		{DeadMarked, processor, false, "an event was given up and is a dead letter"},
		{BatchRerun, processor, false, "an event was refused and the batch is about to run without it"},
		{RecordsReloaded, processor, false, "the parked records are not those in memory and are about to be read again"},
		{Acked, processor, false, "a batch is acked and its memory not given back"},
		{ParkedRetried, processor, true, "a parked event was read and is about to be tried again"},
		{RefetchAsked, processor, true, "the source is about to be asked for a document"},
		{RefetchAnswered, processor, false, "the source has answered with a document that is not written yet"},
		{BarrierArrived, processor, true, "partitions have said that they stand at a schema change; with an error they do not know"},
		{SchemaPrepared, processor, true, "what was there before a schema change is read, and nothing says that it will be made"},
		{SchemaClaimed, processor, true, "it is written that a schema change is being made, and it is not"},
		{SchemaMade, processor, true, "a schema change is made and no checkpoint says so"},
		{BarrierLeft, processor, false, "the partition goes on behind a schema change"},
		{MarkerReached, processor, true, "an idle partition is about to move its checkpoint to a marker"},
		{Drained, processor, false, "the partition is drained and its lease not given back"},
		{HoleMet, processor, false, "events are missing, and the partition is about to say so"},
		{PlaceMoved, processor, false, "the checkpoint is not where the stream says; where to read from is found by position"},
		{StatsCheckpoints, stats, true, "the checkpoints are read, the stream is not: meanwhile both move"},
		{StatsSampled, stats, false, "a sample is counted and nobody has it"},
		{AuditBegun, stats, true, "the audit says that an action on dead letters begins, and it has not"},
		{LettersChanged, stats, true, "dead letters are changed and the audit does not say how many"},
		{PauseWritten, stats, true, "a flow is paused or goes on, and the audit does not say so"},
	}
}
