package verify

// Names of the relay's contract with the outside, as its design states them. They are repeated here, not taken from its
// code: a checker that reads a name where the relay writes it would follow the relay into a mistake. A test of e2e holds
// both against each other.
const (
	Database    = "atlas_relay" // of the target, where the relay keeps its own
	Checkpoints = "checkpoints"
	Parked      = "parked"
	Refetched   = "refetched"

	HeaderID               = "Nats-Msg-Id"
	HeaderExpectedID       = "Nats-Expected-Last-Msg-Id"
	HeaderExpectedSequence = "Nats-Expected-Last-Sequence"
	HeaderStream           = "Relay-Stream"
	HeaderGeneration       = "Relay-Generation"
	HeaderWriter           = "Relay-Writer"
	HeaderPosition         = "Relay-Position"
	HeaderToken            = "Relay-Resume-Token"
	HeaderEvent            = "Relay-Event"
	HeaderSkipped          = "Relay-Skipped"
	HeaderCount            = "Relay-Count"
	HeaderPart             = "Relay-Part"
	HeaderSize             = "Relay-Size"
	HeaderAttempt          = "Relay-Attempt"
)

// Fields of a checkpoint, as paths.
const (
	FieldEpoch      = "epoch"
	FieldOwner      = "owner"
	FieldCommits    = "commits"
	FieldPlace      = "place"
	FieldStreamID   = "place.stream_id"
	FieldGeneration = "place.generation"
	FieldSequence   = "place.sequence"
	FieldEvent      = "place.event"
	FieldCount      = "place.count"
	FieldPosition   = "place.position"
	FieldT          = "place.position.t"
	FieldI          = "place.position.i"
	FieldOrdinal    = "place.position.ordinal"
)

// Fields of a parked record.
const (
	FieldDB          = "db"
	FieldColl        = "coll"
	FieldDocumentKey = "document_key"
	FieldState       = "state"
	FieldCounted     = "counted"
	FieldEvents      = "events"
	FieldUntil       = "until"
	FieldAt          = "position"
	FieldKey         = "key" // of a refetched document: its namespace, then the _id
	FieldTime        = "t"   // of a refetched document
)

// States of a parked record.
const (
	Waiting  = "waiting"
	Intended = "intended"
	Dead     = "dead"
)
