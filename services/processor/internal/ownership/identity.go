package ownership

import (
	"fmt"
	"strings"
	"time"
)

// Identity is a processor as the others see it: in the keys of its leases.
type Identity struct {
	ID   string // random, new at each start
	Host string
	PID  int64
}

// text is the value of the processor's keys, for people too. It names one
// process: a lease knows its own acquisitions again by it.
func (i Identity) text(ttl time.Duration) string {
	return fmt.Sprintf("id=%s host=%s pid=%d ttl=%s", i.ID, strings.ReplaceAll(i.Host, " ", "_"), i.PID, ttl)
}

// parseIdentity is the inverse of text. A key that a person wrote by hand is none
// of ours: ok is false.
func parseIdentity(text string) (i Identity, ttl time.Duration, ok bool) {
	var ttlText string

	n, err := fmt.Sscanf(text, "id=%s host=%s pid=%d ttl=%s", &i.ID, &i.Host, &i.PID, &ttlText)
	if err != nil || n != 4 {
		return Identity{}, 0, false
	}

	ttl, err = time.ParseDuration(ttlText)

	return i, ttl, err == nil && ttl > 0
}
