package history

import "strings"

// Includes tells whether the flow replicates a namespace, "db.coll".
func (m *Meta) Includes(ns string) bool {
	db, _, _ := strings.Cut(ns, ".")

	switch db {
	case "admin", "local", "config", "atlas_relay", SentinelDatabase:
		return false
	}

	if len(m.Namespaces) == 0 {
		return true
	}

	for _, pattern := range m.Namespaces {
		if prefix, all := strings.CutSuffix(pattern, "*"); ns == pattern || all && strings.HasPrefix(ns, prefix) {
			return true
		}
	}

	return false
}
