package settings

import (
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Common is what every service and relayctl understand; embed it. OPS_ADDR differs per service: set OpsAddr before Load.
type Common struct {
	Flow string `env:"FLOW" envDefault:"atlas-to-local" help:"name of the flow: one direction, one source to one target"`
	NATS NATS

	OpsAddr       string        `env:"OPS_ADDR" help:"address of /livez, /readyz, /metrics and /debug/pprof"`
	LogLevel      slog.Level    `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	LogFormat     string        `env:"LOG_FORMAT" envDefault:"json" oneof:"json,text" help:"form of the log lines on stderr"`
	ShutdownGrace time.Duration `env:"SHUTDOWN_GRACE" envDefault:"25s" min:"0s" help:"how long work in flight may take to finish after a signal"`
}

// NATS says how to reach NATS and who we are there.
type NATS struct {
	URL   URI    `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"servers of NATS, comma list"`
	Creds string `env:"NATS_CREDS" help:"path of the credentials file: JWT and key, or the seed of an nkey alone"`
	CA    string `env:"NATS_CA" help:"path of the PEM bundle that signs the server's certificate"`
	Cert  string `env:"NATS_CERT" help:"path of our own PEM certificate"`
	Key   string `env:"NATS_KEY" help:"path of the PEM key of NATS_CERT"`
}

// Validate implements the check that [Load] makes.
func (c Common) Validate() error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`).MatchString(c.Flow) {
		return Mistake{
			Name: "FLOW", Value: c.Flow, Rule: "must be 1 to 32 of a-z, 0-9 and -, not beginning with -",
			Fix: "for example FLOW=atlas-to-local",
		}
	}

	return nil
}

// Validate implements the check that [Load] makes.
func (n NATS) Validate() error { return errors.Join(n.validateURL(), n.validatePair()) }

// validateURL takes the list as the client does. What is wrong with an item is not said: net/url quotes it, and with it
// the password.
func (n NATS) validateURL() error {
	for item := range strings.SplitSeq(n.URL.Reveal(), ",") {
		if item = strings.TrimSpace(item); !strings.Contains(item, "://") {
			item = "nats://" + item
		}

		if _, err := url.Parse(item); err != nil {
			return Mistake{
				Name: "NATS_URL", Value: n.URL, Rule: "must be a comma list of nats://host:4222, with @ as %40, : as %3A, / as %2F and % as %25 in user and password",
				Fix: "for example NATS_URL=nats://127.0.0.1:4222",
			}
		}
	}

	return nil
}

func (n NATS) validatePair() error {
	if (n.Cert == "") == (n.Key == "") {
		return nil
	}

	missing := "NATS_KEY"
	if n.Cert == "" {
		missing = "NATS_CERT"
	}

	return Mistake{Name: missing, Rule: "must be set together with its other half", Fix: "set both NATS_CERT and NATS_KEY, or neither"}
}

// Base returns c itself: the way to the common settings of a struct that embeds
// them.
func (c *Common) Base() *Common { return c }
