package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two runs of syft differ in date and number; what is written does not, unless what was found does.
func TestSettle(t *testing.T) {
	t.Parallel()

	settled := func(number, date, pkg string) string {
		raw := []byte(`{"spdxVersion":"SPDX-2.3","documentNamespace":"https://anchore.com/syft/` + number + `","packages":[{"name":"` + pkg + `"}],
			"creationInfo":{"licenseListVersion":"3.28","creators":["Tool: syft"],"created":"` + date + `"}}`)

		out, err := settle(raw, "listener", time.Unix(1_700_000_000, 0))
		require.NoError(t, err)

		return string(out)
	}

	one := settled("1", "2026-11-29T19:00:00Z", "x")
	require.Equal(t, one, settled("2", "2026-11-29T19:00:01Z", "x"))
	require.Contains(t, one, `"created": "2023-11-14T22:13:20Z"`)
	require.Contains(t, one, `"licenseListVersion": "3.28"`)
	require.Contains(t, one, `"documentNamespace": "`+namespace+"listener-")
	require.NotEqual(t, one, settled("1", "2026-11-29T19:00:00Z", "y"))

	_, err := settle([]byte("no JSON"), "listener", time.Now())
	require.Error(t, err)
}

func TestRefusesWhatItCannotDate(t *testing.T) {
	t.Parallel()

	require.ErrorContains(t, run(t.Context(), []string{"-name", "x", "-version", "1", "from", "to"}, ""), "SOURCE_DATE_EPOCH")
	require.ErrorContains(t, run(t.Context(), []string{"from", "to"}, "1"), "use:")
}
