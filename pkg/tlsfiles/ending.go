package tlsfiles

import (
	"crypto/x509"
	"time"
)

// Ending is a certificate that should have been renewed.
type Ending struct {
	Setting string    // that names its file
	At      time.Time // when it expires, or did
}

// Expired tells whether it is no longer valid.
func (e Ending) Expired() bool { return time.Now().After(e.At) }

// Endings are the files' certificates that should have been renewed by now.
func (s *Store) Endings() []Ending {
	var list []Ending

	for _, e := range s.now.Load().ends {
		if time.Now().After(e.due()) {
			list = append(list, Ending{e.setting, e.after})
		}
	}

	return list
}

// EndingOf is the same for the chain that the other end has shown; false when there is time.
func EndingOf(setting string, chain []*x509.Certificate) (Ending, bool) {
	if len(chain) == 0 {
		return Ending{}, false
	}

	e := firstEnd(setting, chain)

	return Ending{setting, e.after}, time.Now().After(e.due())
}
