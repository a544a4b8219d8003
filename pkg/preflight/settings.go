package preflight

import (
	"context"
	"slices"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// settingsChecks show what settings.Load found. Which mistake goes where decides
// what can still be looked at: a wrong byte count is no reason not to try the
// servers.
func settingsChecks() []Check {
	const why = "no service starts with a wrong setting"

	return []Check{
		{
			Code: "CFG001", What: "FLOW is a name", Why: why, Remedy: "for example FLOW=atlas-to-local",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isAbout("FLOW")) },
		},
		{
			Code: "CFG002", What: "the settings of NATS are well formed", Why: why, Remedy: "see deploy/SETTINGS.md",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isOfNATS) },
		},
		{
			Code: "CFG003", What: "SOURCE_URI is given and well formed", Why: why, Remedy: "for example mongodb+srv://user:password@cluster.example.net",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isAbout("SOURCE_URI")) },
		},
		{
			Code: "CFG004", What: "TARGET_URI is given, well formed, and not SOURCE_URI", Why: why, Remedy: "for example mongodb://host:27017/?replicaSet=rs0",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isAbout("TARGET_URI")) },
		},
		{
			Code: "CFG005", What: "every other setting is one that a flow can have", Why: why, Remedy: "see deploy/SETTINGS.md",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isOther) },
		},
		{
			Code: "CFG006", What: "no variable looks like a misspelt setting", Why: "a setting that is silently ignored costs its owner a day", Remedy: "correct the name, or unset the variable",
			run: func(_ context.Context, w *World) []Finding { return w.mistakes(isMisspelt) },
		},
	}
}

func isMisspelt(m settings.Mistake) bool { return m.Rule == "is not a setting" }

func isAbout(names ...string) func(settings.Mistake) bool {
	return func(m settings.Mistake) bool {
		return !isMisspelt(m) && slices.Contains(names, strings.TrimSuffix(m.Name, "_FILE"))
	}
}

func isOfNATS(m settings.Mistake) bool { return !isMisspelt(m) && strings.HasPrefix(m.Name, "NATS_") }

func isOther(m settings.Mistake) bool {
	return !isMisspelt(m) && !isOfNATS(m) && !isAbout("FLOW", "SOURCE_URI", "TARGET_URI")(m)
}

func (w *World) mistakes(which func(settings.Mistake) bool) []Finding {
	var found []Finding

	for _, m := range w.Mistakes {
		if which(m) {
			shown := m
			shown.Fix = ""
			found = append(found, refused(fail(m.Name, "%s", shown.Error())).remedy(m.Fix))
		}
	}

	return found
}
