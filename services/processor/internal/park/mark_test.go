package park

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// fates are those of a lot's items.
func fates(l *Lot) (list []Fate) {
	for i := range l.Items {
		list = append(list, l.Items[i].Fate)
	}

	return list
}

// TestDeltaBehindADeadLetterWaits: the target might well take it, and the document has missed a change. A whole image ends
// that, and what comes behind the image may pass.
func TestDeltaBehindADeadLetterWaits(t *testing.T) {
	t.Parallel()

	p := newPartition()
	require.NoError(t, p.Load(record("marked", parked.Dead, parked.Failed), time.Unix(0, 0)))

	delta := Item{ID: "2", Key: "marked", Number: 2, Position: event.Position{T: 2}}
	whole := Item{ID: "3", Key: "marked", Number: 3, Position: event.Position{T: 3}, Whole: true}
	behind := Item{ID: "4", Key: "marked", Number: 4, Position: event.Position{T: 4}}

	require.Equal(t, []Fate{Follow, Follow, Follow}, fates(p.Sort([]Item{delta, whole, behind})))
	require.Equal(t, []Fate{Apply, Apply}, fates(p.Sort([]Item{whole, behind})))
}

// TestEachImageCoversUpToItsOwnTime: that one document's time has passed says nothing of another's.
func TestEachImageCoversUpToItsOwnTime(t *testing.T) {
	t.Parallel()

	p := newPartition()
	p.LoadCovered("early", bson.Timestamp{T: 5})
	p.LoadCovered("late", bson.Timestamp{T: 9})

	passing := p.Reach(event.Position{T: 6})
	fx := passing.Effects()
	require.Equal(t, []event.Key{"early"}, fx.Forget)
	passing.Done(&fx, time.Unix(0, 0))

	lot := p.Sort([]Item{
		{ID: "1", Key: "early", Number: 1, Position: event.Position{T: 7}},
		{ID: "2", Key: "late", Number: 2, Position: event.Position{T: 8}},
		{ID: "3", Key: "late", Number: 3, Position: event.Position{T: 9, Ordinal: 7}},
		{ID: "4", Key: "late", Number: 4, Position: event.Position{T: 9, I: 1}},
	})
	require.Equal(t, []Fate{Apply, Skip, Skip, Apply}, fates(lot))
}
