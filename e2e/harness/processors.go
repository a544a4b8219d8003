package harness

import (
	"fmt"
	"slices"
	"sync"
)

// processors is the processors of a relay. Those that were taken away come back first when more are wanted.
type processors struct {
	make func(name string) *Service

	mu      sync.Mutex
	all     []*Service // ever made
	present int        // how many of them, from the first, there are now
}

func (p *processors) list() []*Service {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Clone(p.all[:p.present])
}

// grow makes the list n long, at least, and returns those that came.
func (p *processors) grow(n int) []*Service {
	p.mu.Lock()
	defer p.mu.Unlock()

	for len(p.all) < n {
		name := Processor
		if number := len(p.all) + 1; number > 1 {
			name = fmt.Sprintf("%s-%d", Processor, number)
		}

		p.all = append(p.all, p.make(name))
	}

	before := p.present
	p.present = max(n, before)

	return slices.Clone(p.all[before:p.present])
}

// shrink makes the list n long, at most, and returns those that went, the newest first.
func (p *processors) shrink(n int) []*Service {
	p.mu.Lock()
	defer p.mu.Unlock()

	before := p.present
	p.present = min(n, before)

	gone := slices.Clone(p.all[p.present:before])
	slices.Reverse(gone)

	return gone
}
