package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// TestFullBatchTakesNothingIn: while a batch is applied the next one fills, and then the partition reads no further. Else a
// target that is slow would fill this process with what it waits for.
func TestFullBatchTakesNothingIn(t *testing.T) {
	t.Parallel()

	sized := func(n int) *consume.Delivery { return &consume.Delivery{Event: event.Event{Raw: make([]byte, n)}} }
	barrier := &consume.Delivery{Message: event.Message{Kind: event.KindBarrier}}

	for name, test := range map[string]struct {
		deliveries []*consume.Delivery
		full       bool
	}{
		"nothing":                    {},
		"one":                        {deliveries: []*consume.Delivery{sized(1)}},
		"as many as it may have":     {deliveries: []*consume.Delivery{sized(1), sized(1)}, full: true},
		"as large as it may be":      {deliveries: []*consume.Delivery{sized(100)}, full: true},
		"a schema change":            {deliveries: []*consume.Delivery{barrier}, full: true},
		"a schema change behind one": {deliveries: []*consume.Delivery{sized(1), barrier}, full: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			o := &Owner{limits: batch.Limits{Size: 2, Bytes: 100, Idle: time.Hour, MaxAge: time.Hour}}
			l := &lane{partition: &partition{Owner: o}, batcher: batch.New[*consume.Delivery](o.limits)}

			for _, d := range test.deliveries {
				require.True(t, l.wants())
				l.put(d)
			}

			require.Equal(t, !test.full, l.wants())
		})
	}
}
