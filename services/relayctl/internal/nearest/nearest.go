// Package nearest guesses what somebody meant to type.
package nearest

import (
	"strings"
)

// mostEdits is how far off a guess may be.
const mostEdits = 2

// To returns the known word that is nearest to what was typed; empty when none is near.
func To(typed string, known []string) string {
	best, edits := "", mostEdits+1

	for _, word := range known {
		// A short word is a few edits away from everything.
		if d := distance(typed, word); d < edits && d < len(word) {
			best, edits = word, d
		}
	}

	if best != "" || typed == "" {
		return best
	}

	for _, word := range known {
		if strings.HasPrefix(word, typed) {
			return word
		}
	}

	return ""
}

// Question is ", did you mean x?", or nothing.
func Question(typed string, known []string) string {
	if word := To(typed, known); word != "" {
		return ", did you mean " + word + "?"
	}

	return ""
}

// distance is how many letters have to be added, removed or changed, or swapped with their neighbour.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}

	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i

		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}

			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)

			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}

		before, last = last, row
	}

	return last[len(b)]
}
