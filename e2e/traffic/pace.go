package traffic

import (
	"context"
	"sync"
	"time"
)

// pace spreads changes evenly over time, among all writers.
type pace struct {
	rate float64 // changes per second; 0 is as fast as possible

	mu    sync.Mutex
	begin time.Time
	taken int
}

// take waits for the turn of the next n changes.
func (p *pace) take(ctx context.Context, n int) error {
	if p.rate == 0 {
		return ctx.Err()
	}

	timer := time.NewTimer(time.Until(p.turn(n)))
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (p *pace) turn(n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.begin.IsZero() {
		p.begin = time.Now()
	}

	turn := p.begin.Add(time.Duration(float64(p.taken) / p.rate * float64(time.Second)))
	p.taken += n

	return turn
}
