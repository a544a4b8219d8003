package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// Checks returns every check, in the order in which findings are shown.
func Checks() []Check {
	return slices.Concat(settingsChecks(), sourceChecks(), targetChecks(), natsChecks(), certificateChecks(), flowChecks())
}

// pick returns the checks with these codes.
func pick(codes ...string) []Check {
	return slices.DeleteFunc(Checks(), func(c Check) bool { return !slices.Contains(codes, c.Code) })
}

// Reference is deploy/DOCTOR.md: the checks as Markdown.
func Reference() string {
	var text strings.Builder

	text.WriteString(referenceHead)

	for _, c := range Checks() {
		needs := strings.Join(c.Needs, " ")
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s | %s |\n", c.Code, c.What, c.Why, c.Remedy, needs)
	}

	return text.String()
}

const referenceHead = `# What relayctl doctor checks

Written by ` + "`make generate`" + ` from pkg/preflight; codes never change their meaning. Beside them stand exit codes and the
errors of the API in [ERRORS.md](ERRORS.md).

A check ends as *ok*, *warning*, *failed*, *could-not-tell* (with the reason) or *skipped* (a check that it needs failed).
All run in one call, within 15 s also while servers are away, and nothing is ever written to the source.

Exit codes, the first that fits: **2** the configuration cannot work (somebody has to change it), **3** a server cannot be
reached (waiting may heal it), **1** another check failed, **0** none failed. Warnings and what could not be told are no
failures. ` + "`-o json`" + ` prints ` + "`{\"checks\":[{\"code\",\"ok\",\"status\",\"what\",\"where\",\"why\",\"remedy\"}]}`" + `.

| code | checked | why it matters | remedy | needs |
|---|---|---|---|---|
`
