package barrier

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Barrier is the place of a schema change in the source's order. Numbers are signed because BSON has no other.
type Barrier struct {
	Event    int64          `bson:"event"` // its number, for people
	Position event.Position `bson:"position"`
}

// Arrival says that a partition has committed everything before a barrier, and tries nothing that is parked.
type Arrival struct {
	Barrier `bson:"at"`

	Epoch int64 `bson:"epoch"` // of the partition's owner
	// Commits is how many the partition's checkpoint had: a target that was restored from a backup has fewer, and lacks
	// what was committed since. Zero in an arrival of a version that did not note it.
	Commits int64 `bson:"commits"`
}

// Execution is a schema change that may have begun to run.
type Execution struct {
	Barrier `bson:"at"`

	Epoch int64 `bson:"epoch"` // of partition 0's owner
	// Prepared is what the target had before the command ran for the first time: whoever runs it again recognises by it
	// what was done. It never changes for a barrier.
	Prepared bson.Raw `bson:"prepared,omitempty"`
	// What changes, for people and for those who hand over parked events.
	Operation event.Operation `bson:"operation"`
	DB        string          `bson:"db"`
	Coll      string          `bson:"coll"`
	// NothingParked says that no partition had anything parked of what is renamed, when all had arrived.
	NothingParked bool `bson:"nothing_parked,omitempty"`
}

// HandsOver tells whether a partition that passes the rename there may hand over to another what it had parked. e is
// the execution that it knows of, nil for none: it may be of another barrier by then, which tells nothing.
func (e *Execution) HandsOver(at Barrier) bool {
	return e == nil || e.Barrier != at || !e.NothingParked
}

// Document is the flow's document in the target, which all owners share.
type Document struct {
	ID      string             `bson:"_id"` // the flow
	Flow    string             `bson:"flow"`
	Arrived map[string]Arrival `bson:"arrived"` // by partition; see Slot
	// Executing is the last change that was claimed, also when it has run; nil before the first.
	Executing *Execution `bson:"executing,omitempty"`
}

// Lane is a partition that stands at a barrier, as its owner knows it.
type Lane struct {
	Partition int
	Epoch     int64
	Commits   int64 // of its checkpoint, at least
	At        Barrier
}

func (l *Lane) arrival() Arrival { return Arrival{Barrier: l.At, Epoch: l.Epoch, Commits: l.Commits} }

// Checkpoint is what of a partition's checkpoint matters here.
type Checkpoint struct {
	Epoch    int64
	Commits  int64
	Position event.Position
}

// View is what was read of the target with majority: the checkpoints not before the document. Partition 0 needs those
// of all partitions, the others that of partition 0 and their own.
type View struct {
	Partitions  int
	Document    Document
	Checkpoints map[int]Checkpoint
}

// Step is what a lane does next.
type Step int

// The steps. After each but Pass and Run another view decides.
const (
	Wait     Step = iota
	Announce      // write the lane's arrival
	Claim         // write that the change is executed, unless the document's Executing has changed since the view
	Run           // run the command, then commit the checkpoint past the barrier
	Pass          // go on behind the barrier
	Leave         // the target lacks what the lane has committed: acquire the partition again
)

// Verdict is a step and what is waited for.
type Verdict struct {
	Step Step
	// For are the partitions that a Wait or an Announce waits for, in order.
	For []int
	// Executing is that of the view: what a Claim replaces, what a Run runs with, and by which a Pass knows what was
	// parked.
	Executing *Execution
	// Void says that a Pass is behind a change that was not made.
	Void bool
}

// Decide tells what a lane does next.
func (v *View) Decide(l *Lane) Verdict {
	if v.wentBack(l) {
		return Verdict{Step: Leave}
	}

	if l.Partition == 0 {
		return v.execute(l)
	}

	if first, known := v.Checkpoints[0]; known && !first.Position.Before(l.At.Position) {
		return Verdict{Step: Pass, Executing: v.Document.Executing}
	}

	// Partition 0 stands at a later one without having met this one.
	if first, there := v.arrival(0); there && l.At.Position.Before(first.Position) {
		return Verdict{Step: Pass, Executing: v.Document.Executing, Void: true}
	}

	return Verdict{Step: v.announced(l), For: v.behind(l)}
}

// arrival returns where a partition has arrived under its present owner, on this target.
func (v *View) arrival(partition int) (arrival Arrival, there bool) {
	arrival, arrived := v.Document.Arrived[Slot(partition)]
	present, known := v.Checkpoints[partition]

	return arrival, arrived && known && arrival.Epoch == present.Epoch && arrival.Commits <= present.Commits
}

// announced is the step of who has to be known to stand at the barrier, and can do nothing else.
func (v *View) announced(l *Lane) Step {
	// Somebody with a higher epoch owns the partition: this lane hears of it when it commits.
	if written, found := v.Document.Arrived[Slot(l.Partition)]; found && (written.Epoch > l.Epoch || written.Epoch == l.Epoch && written.Barrier == l.At) {
		return Wait
	}

	return Announce
}

// wentBack tells whether the target's checkpoint is one of before: the target was restored from a backup. Who stands at a
// barrier commits nothing, so nothing else would ever tell it.
func (v *View) wentBack(l *Lane) bool {
	own, known := v.Checkpoints[l.Partition]
	if !known {
		return len(v.Checkpoints) > 0
	}

	return own.Epoch < l.Epoch || own.Epoch == l.Epoch && own.Commits < l.Commits
}

// execute decides for partition 0.
func (v *View) execute(l *Lane) Verdict {
	executing := v.Document.Executing
	verdict := Verdict{Step: Wait, For: v.missing(l), Executing: executing}

	switch {
	case len(verdict.For) > 0:
		verdict.Step = v.announced(l) // who waits at a void barrier before this one passes it by that
	case executing != nil && executing.Epoch > l.Epoch: // as above
	case executing != nil && executing.Epoch == l.Epoch && executing.Barrier == l.At:
		// The view was read after that was written, its epochs are the second look.
		verdict.Step = Run
	default:
		verdict.Step = Claim
	}

	return verdict
}

// missing are the partitions that have not arrived under their present owner, on this target.
func (v *View) missing(l *Lane) []int {
	var missing []int

	for p := 1; p < v.Partitions; p++ {
		if arrival, there := v.arrival(p); !there || arrival.Position.Before(l.At.Position) {
			missing = append(missing, p)
		}
	}

	return missing
}

// behind is missing as one sees it who does not look at the checkpoints: for people.
func (v *View) behind(l *Lane) []int {
	var behind []int

	for p := 1; p < v.Partitions; p++ {
		if p != l.Partition && v.Document.Arrived[Slot(p)].Position.Before(l.At.Position) {
			behind = append(behind, p)
		}
	}

	if behind == nil {
		behind = []int{0}
	}

	return behind
}

// Holds returns the position up to which an owner that acquires a partition now must not try what is parked; zero when
// it may. The document is read after the epoch was raised; held is the position of the checkpoint. The hold ends with
// the checkpoint, or the lane, at that position or behind it.
func (d *Document) Holds(held event.Position) event.Position {
	if d.Executing == nil || !held.Before(d.Executing.Position) {
		return event.Position{}
	}

	return d.Executing.Position
}

// Claimed is the execution that a Claim writes for a lane. What was prepared before stays: the command may have run
// since.
func (v *Verdict) Claimed(l *Lane) (e Execution, fresh bool) {
	if v.Executing != nil && v.Executing.Barrier == l.At {
		e = *v.Executing
		e.Epoch = l.Epoch

		return e, false
	}

	return Execution{Barrier: l.At, Epoch: l.Epoch}, true
}
