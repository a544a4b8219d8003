package telemetry

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// stamped is the version that the linker was told: an image is built without the repository.
var stamped string //nolint:gochecknoglobals // -ldflags "-X …/pkg/telemetry.stamped=…"

// Version is the version of this binary: what the linker was told, else the module version of a release, else the commit
// it was built from (with "+dirty" when the tree had changes), else "unknown".
func Version() string {
	if stamped != "" {
		return stamped
	}

	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownVersion
	}

	return versionOf(info)
}

const (
	unknownVersion = "unknown"
	commitLength   = 12
)

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}

	commit, dirty := "", ""

	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value[:min(commitLength, len(setting.Value))]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "+dirty"
		}
	}

	if commit == "" {
		return unknownVersion
	}

	return commit + dirty
}

// BuildInfo is the metric relay_build_info: always 1, with service, version and Go version as labels.
func BuildInfo(service string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_build_info",
		Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{
			KeyService: service, "version": Version(), "go_version": runtime.Version(),
		},
	}, func() float64 { return 1 })
}
