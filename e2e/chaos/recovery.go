package chaos

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// measureRecoveries finds in the samples of a record how long after each fault the state was OK again. A fault behind which
// another one began before that tells nothing.
func measureRecoveries(folder string, strikes []Strike) error {
	var fine []time.Time

	err := history.Each(folder, history.SamplesFile, func(sample *history.Sample) error {
		var stats struct {
			Status string `json:"status"`
		}

		if len(sample.Stats) == 0 {
			return nil
		}

		if err := json.Unmarshal(sample.Stats, &stats); err != nil {
			return fmt.Errorf("read a sample: %w", err)
		}

		if stats.Status == "STATUS_OK" {
			fine = append(fine, sample.Time)
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("measure recoveries: %w", err)
	}

	for i := range strikes {
		s := &strikes[i]

		for len(fine) > 0 && fine[0].Before(s.Over) {
			fine = fine[1:]
		}

		if len(fine) > 0 && s.Times > 0 && (i+1 == len(strikes) || fine[0].Before(strikes[i+1].Began)) {
			s.Recovery = max(fine[0].Sub(s.Over), time.Millisecond)
		}
	}

	return nil
}
