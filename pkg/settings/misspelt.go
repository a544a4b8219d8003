package settings

import (
	"maps"
	"slices"
	"strings"
)

// misspelt finds variables one letter away from one of ours, and <NAME>_FILE for a variable that is no secret. A
// setting that is silently ignored costs its owner a day. Two letters would accuse strangers: Kubernetes sets
// NATS_PORT beside a service named nats, and NATS_CERT is ours.
func misspelt(fields []Field, given map[string]string) []Mistake {
	var mistakes []Mistake

	for _, name := range slices.Sorted(maps.Keys(given)) {
		if isKnown(fields, name) || isOfSibling(name) {
			continue
		}

		for _, f := range fields {
			switch {
			case name == f.Name+"_FILE":
				mistakes = append(mistakes, Mistake{Name: name, Rule: "only secrets can be read from a file", Fix: "set " + f.Name})
			case oneLetterApart(name, f.Name), f.Secret && oneLetterApart(name, f.Name+"_FILE"):
				mistakes = append(mistakes, Mistake{Name: name, Rule: "is not a setting", Fix: "did you mean " + f.Name + "?"})
			}
		}
	}

	return mistakes
}

func isKnown(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool {
		return name == f.Name || f.Secret && name == f.Name+"_FILE"
	})
}

// isOfSibling names the settings that other services have and that differ by one letter from one of ours, so that all
// services may share an environment.
func isOfSibling(name string) bool {
	name = strings.TrimSuffix(name, "_FILE")

	return name == "TARGET_URI" || name == "TARGET_URIS"
}

// oneLetterApart tells whether one letter was left out, added, changed, or swapped with its neighbour.
func oneLetterApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}

	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}

	switch {
	case len(b)-len(a) > 1:
		return false
	case len(b) > len(a):
		return a[i:] == b[i+1:]
	case i == len(a):
		return false // equal
	case a[i+1:] == b[i+1:]:
		return true
	default:
		return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	}
}
