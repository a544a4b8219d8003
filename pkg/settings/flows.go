package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Flows is a comma list of names of flows, in order and each once.
type Flows []string

// UnmarshalText reads the comma list; blanks around an entry are ignored.
func (f *Flows) UnmarshalText(text []byte) error {
	var list Flows

	for item := range strings.SplitSeq(string(text), ",") {
		name := strings.TrimSpace(item)
		if err := (Common{Flow: name}).Validate(); err != nil {
			return fmt.Errorf("%q is not the name of a flow", name)
		}

		list = append(list, name)
	}

	slices.Sort(list)
	*f = slices.Compact(list)

	return nil
}

// Exclude returns the mistake of a list, in SKIP_ORIGINS, that names the flow it
// is for: a flow that skipped its own changes would not replicate what another
// relay of that name wrote.
func (f Flows) Exclude(own string) error {
	if !slices.Contains(f, own) {
		return nil
	}

	return Mistake{
		Name: "SKIP_ORIGINS", Value: f, Rule: "names the flow itself",
		Fix: "name the flow that writes to this one's source: for two-way traffic the opposite one",
	}
}

// String is the written form.
func (f Flows) String() string { return strings.Join(f, ",") }
