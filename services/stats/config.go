package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

// Config is everything the stats service can be told.
type Config struct {
	settings.Common

	GRPCAddr string `env:"GRPC_ADDR" envDefault:":50051" help:"address of the gRPC API"`
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":8080" help:"address of the page and of the JSON API; off: neither"`

	APIOpen       string `env:"API_OPEN" envDefault:"none" oneof:"none,viewer,operator" help:"what callers from other hosts may do without a token"`
	APILocal      string `env:"API_LOCAL" envDefault:"auto" oneof:"auto,none,viewer,operator" help:"what callers from this host may do without a token; auto: operator while API_TOKENS_FILE is not set, else viewer; none is for a host with a proxy that hands requests on"`
	APITokensFile string `env:"API_TOKENS_FILE" help:"path of the tokens, one a line: name, role (viewer or operator), secret; or cert:name and role of a client certificate; read again when it changes"`

	APICert     string `env:"API_CERT" help:"path of the PEM certificate of gRPC and HTTP, with those of authorities between it and the root; read again when it changes; empty: no TLS"`
	APIKey      string `env:"API_KEY" help:"path of the PEM key of API_CERT"`
	APIClientCA string `env:"API_CLIENT_CA" help:"path of the PEM bundle that signs certificates of clients; API_TOKENS_FILE says what they may"`

	TargetURI  settings.URI    `env:"TARGET_URI"  help:"MongoDB that FLOW writes to; its checkpoints are read"`
	TargetURIs settings.Secret `env:"TARGET_URIS" help:"instead of FLOW and TARGET_URI, several flows: comma list of flow=uri"`
}

const (
	defaultOpsAddr = ":8083"
	off            = "off" // an address that is not served
	// memoryBudget is where the garbage collector works harder; a sample of 64
	// partitions needs less than 1 MiB, messages of 1 MiB under way included
	// some 20.
	memoryBudget = 64 << 20
)

// newConfig returns a Config with the defaults that tags cannot hold.
func newConfig() *Config {
	return &Config{Common: settings.Common{OpsAddr: defaultOpsAddr}}
}

// LoadConfig reads the configuration. The error lists every mistake.
func LoadConfig(environ map[string]string) (*Config, error) {
	cfg := newConfig()
	if err := settings.Load(cfg, environ); err != nil {
		return nil, err
	}

	return cfg, nil
}

// tokens are those of API_TOKENS_FILE; nil without it.
func (c *Config) tokens() (*access.Tokens, error) {
	if c.APITokensFile == "" {
		return nil, nil //nolint:nilnil // there are none, which is no error
	}

	return access.LoadTokens(c.APITokensFile)
}

// certificates are the files of TLS; nil without it.
func (c *Config) certificates() (*tlsfiles.Store, error) {
	if c.APICert == "" || c.APIKey == "" {
		return nil, nil //nolint:nilnil // there are none, which is no error
	}

	return tlsfiles.Open(tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "API_CERT", Path: c.APICert},
		Key:  tlsfiles.File{Setting: "API_KEY", Path: c.APIKey},
		CA:   tlsfiles.File{Setting: "API_CLIENT_CA", Path: c.APIClientCA},
	})
}

// validateTLS finds halves of pairs, and files that say nothing.
func (c *Config) validateTLS() error {
	switch {
	case (c.APICert == "") != (c.APIKey == ""):
		missing := "API_KEY"
		if c.APICert == "" {
			missing = "API_CERT"
		}

		return settings.Mistake{Name: missing, Rule: "must be set together with its other half", Fix: "set both API_CERT and API_KEY, or neither"}
	case c.APIClientCA != "" && c.APICert == "":
		return settings.Mistake{Name: "API_CLIENT_CA", Value: c.APIClientCA, Rule: "is set without API_CERT: nobody shows a certificate without TLS", Fix: "set API_CERT and API_KEY"}
	case c.APIClientCA != "" && c.APITokensFile == "":
		return settings.Mistake{
			Name: "API_CLIENT_CA", Value: c.APIClientCA, Rule: "is set without API_TOKENS_FILE, which says what a certificate may",
			Fix: `set API_TOKENS_FILE to a file with lines like "cert:ann@example.net operator"`,
		}
	}

	if _, err := c.certificates(); err != nil {
		return settings.Mistake{Name: "API_CERT", Value: c.APICert, Rule: "must name a certificate that can be served: " + err.Error(), Fix: "compare API_CERT, API_KEY and API_CLIENT_CA: openssl x509 -noout -subject -dates -in FILE"}
	}

	return nil
}

func (c *Config) guard(tokens *access.Tokens) *access.Guard {
	open, _ := access.ParseRole(c.APIOpen) // Load has checked both

	local, set := access.ParseRole(c.APILocal)
	switch {
	case !set && tokens == nil:
		local = access.Operator
	case !set:
		local = access.Viewer
	}

	return access.New(open, local, tokens)
}

// Targets returns the target of each flow.
func (c *Config) Targets() map[string]settings.URI {
	if !c.TargetURI.IsZero() {
		return map[string]settings.URI{c.Flow: c.TargetURI}
	}

	return parseTargets(c.TargetURIs.Reveal())
}

// parseTargets takes flow=uri,flow=uri apart. A URI may hold commas between its
// hosts and = in its options, so an item begins only where a scheme follows.
func parseTargets(text string) map[string]settings.URI {
	begin := regexp.MustCompile(`(?:^|,)\s*([^=,\s]+)=(mongodb(?:\+srv)?://)`)
	found := begin.FindAllStringSubmatchIndex(text, -1)
	targets := make(map[string]settings.URI, len(found))

	for i, at := range found {
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}

		targets[text[at[2]:at[3]]] = settings.NewURI(text[at[4]:end])
	}

	return targets
}

// Validate implements the check that settings.Load makes.
func (c *Config) Validate() error {
	if _, err := c.tokens(); err != nil {
		return errors.Join(c.validateTargets(), c.validateTLS(), settings.Mistake{
			Name: "API_TOKENS_FILE", Value: c.APITokensFile, Rule: "must name a file of tokens: " + err.Error(),
			Fix: "write one token a line: name, viewer or operator, and a secret (openssl rand -hex 16)",
		})
	}

	return errors.Join(c.validateTargets(), c.validateTLS())
}

func (c *Config) validateTargets() error {
	switch {
	case c.TargetURI.IsZero() && c.TargetURIs.IsZero():
		return settings.Mistake{
			Name: "TARGET_URI", Rule: "is required but not set: MongoDB that FLOW writes to",
			Fix: "for example TARGET_URI=mongodb://host:27017/?replicaSet=rs0, or TARGET_URIS for several flows",
		}
	case !c.TargetURI.IsZero() && !c.TargetURIs.IsZero():
		return settings.Mistake{Name: "TARGET_URIS", Rule: "is set beside TARGET_URI", Fix: "keep one of the two"}
	case len(c.Targets()) == 0:
		return settings.Mistake{
			Name: "TARGET_URIS", Rule: "must be a comma list of flow=uri",
			Fix: "for example TARGET_URIS=atlas-to-local=mongodb://a:27017,edge-to-atlas=mongodb://b:27017",
		}
	}

	return c.checkTargets()
}

func (c *Config) checkTargets() error {
	name := "TARGET_URI"
	if c.TargetURI.IsZero() {
		name = "TARGET_URIS"
	}

	var mistakes []error

	targets := c.Targets()
	for _, flow := range slices.Sorted(maps.Keys(targets)) {
		if err := (settings.Common{Flow: flow}).Validate(); err != nil && name == "TARGET_URIS" {
			mistakes = append(mistakes, settings.Mistake{Name: name, Rule: fmt.Sprintf("names the flow %q, which must be 1 to 32 of a-z, 0-9 and -", flow)})
		}

		if err := mongodb.CheckURI(targets[flow]); err != nil {
			mistakes = append(mistakes, settings.Mistake{Name: name, Rule: "of flow " + flow + ": " + err.Error(), Fix: "for example mongodb://host:27017/?replicaSet=rs0"})
		}
	}

	return errors.Join(mistakes...)
}
