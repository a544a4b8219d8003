// Package stepwise is the processor for who has the time and the servers of his own:
// the cores of this service, wired as in the service, one step at a time. The joint
// simulation of the flow runs it; the service does not.
//
// It only gives names to what lies behind internal: no decision is made here.
package stepwise

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/ownership"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// The processor and its partitions.
type (
	// Member is a processor.
	Member = ownership.Member
	// Steps is a partition of a Member.
	Steps = ownership.Steps
	// Options is what a Member is told.
	Options = ownership.Options
	// Identity is who a Member is.
	Identity = ownership.Identity
	// Status is a partition at one moment.
	Status = ownership.Status
	// Action is what a Member wants done.
	Action = ownership.Action
	// Limits is the bounds of a batch.
	Limits = batch.Limits
	// Policy is how parked events are tried.
	Policy = park.Policy
)

// What they ask of a target.
type (
	// Store is what a partition asks of a target beside its transactions.
	Store = ownership.Store
	// Applier is what makes the transactions of an ownership.
	Applier = ownership.Applier
	// Transactions is what Commit asks of a target.
	Transactions = apply.Transactions
	// Plan is the writes of a batch.
	Plan = apply.Plan
	// Change is an event to apply.
	Change = apply.Change
	// Note is a write to the relay's own collections.
	Note = apply.Note
	// Statement is one write of a transaction.
	Statement = apply.Statement
	// EventError is an event that the target refuses.
	EventError = apply.EventError
	// Barriers is the flow's document about schema changes.
	Barriers = barrier.Document
)

// The verbs of a Statement.
const (
	Insert     = apply.Insert
	Update     = apply.Update
	Upsert     = apply.Upsert
	Replace    = apply.Replace
	Delete     = apply.Delete
	DeleteMany = apply.DeleteMany
)

// Errors of a target, see package apply and ownership.
var (
	ErrLostRace        = ownership.ErrLostRace
	ErrStale           = apply.ErrStale
	ErrWentBack        = apply.ErrWentBack
	ErrInDoubt         = apply.ErrInDoubt
	ErrRecords         = apply.ErrRecords
	ErrMissingDocument = apply.ErrMissingDocument
	ErrReset           = consume.ErrReset
)

// NewMember is ownership.NewMember.
func NewMember(js jetstream.JetStream, store Store, options Options) *Member {
	return ownership.NewMember(js, store, options)
}

// NewPlan is apply.NewPlan.
func NewPlan(changes []Change) (*Plan, error) { return apply.NewPlan(changes) }

// InsertNote is apply.InsertNote.
func InsertNote(collection string, document any) Note { return apply.InsertNote(collection, document) }

// UpdateNote is apply.UpdateNote.
func UpdateNote(collection string, filter, update bson.D) Note {
	return apply.UpdateNote(collection, filter, update)
}

// UpsertNote is apply.UpsertNote.
func UpsertNote(collection string, filter, update bson.D) Note {
	return apply.UpsertNote(collection, filter, update)
}

// DeleteNote is apply.DeleteNote.
func DeleteNote(collection string, filter bson.D) Note { return apply.DeleteNote(collection, filter) }

// Commit is apply.Commit.
func Commit(ctx context.Context, t Transactions, plan *Plan, last, next *checkpoint.Document) error {
	return apply.Commit(ctx, t, plan, last, next)
}

// Raising is ownership.Raising.
func Raising(held, owned *checkpoint.Document, moved bool) (filter, update bson.D) {
	return ownership.Raising(held, owned, moved)
}

// StoreOf returns the store of a real target, for a model's conformance.
func StoreOf(target *mongo.Client) Store { return ownership.StoreOf(target) }

// ApplierOf returns what makes transactions on a real target, and the id of its
// session, which end ends.
func ApplierOf(target *mongo.Client) (applier Applier, session bson.Binary, end func(context.Context), err error) {
	s, err := apply.NewSession(target)
	if err != nil {
		return nil, bson.Binary{}, nil, err
	}

	return apply.New(target, apply.Options{}).In(s), apply.SessionID(s), s.EndSession, nil
}
