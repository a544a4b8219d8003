package harness

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
)

// documentedFlow is the flow that deploy/nats/secured.conf is written for.
const documentedFlow = "atlas-to-local"

// Roles are the users of deploy/nats/secured.conf.
func Roles() []string { return []string{"listener", "janitor", "processor", "stats", "operator"} }

// Secured is the configuration of deploy/nats/secured.conf for one flow, with keys of its own.
type Secured struct {
	Flow   string
	Config string            // path
	Env    map[string]string // of nats-server: the public keys
	Seeds  map[string]string // paths of the private ones, by role
}

// Secure writes the configuration and the keys into dir.
func Secure(ctx context.Context, dir, flow string) (*Secured, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}

	s := &Secured{Flow: flow, Env: map[string]string{}, Seeds: map[string]string{}}

	for _, name := range []string{"nats.conf", "secured.conf"} {
		content, err := os.ReadFile(filepath.Join(root, "deploy", "nats", name))
		if err != nil {
			return nil, fmt.Errorf("read the configuration of NATS: %w", err)
		}

		s.Config = filepath.Join(dir, name)
		if err := os.WriteFile(s.Config, []byte(strings.ReplaceAll(string(content), documentedFlow, flow)), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration of NATS: %w", err)
		}
	}

	for _, role := range Roles() {
		if err := s.key(dir, role); err != nil {
			return nil, fmt.Errorf("make the key of %s: %w", role, err)
		}
	}

	return s, nil
}

func (s *Secured) key(dir, role string) error {
	pair, err := nkeys.CreatePairWithRand(nkeys.PrefixByteUser, rand.Reader)
	if err != nil {
		return err
	}

	seed, err := pair.Seed()
	if err != nil {
		return err
	}

	public, err := pair.PublicKey()
	if err != nil {
		return err
	}

	s.Env["RELAY_"+strings.ToUpper(role)+"_NKEY"] = public
	s.Seeds[role] = filepath.Join(dir, role+".nk")

	return os.WriteFile(s.Seeds[role], append(seed, '\n'), 0o600)
}

// settings are what each program is told, by its name.
func (s *Secured) settings() map[string]map[string]string {
	if s == nil {
		return nil
	}

	return map[string]map[string]string{
		Listener:  {"NATS_CREDS": s.Seeds["listener"], "NATS_JANITOR_CREDS": s.Seeds["janitor"]},
		Processor: {"NATS_CREDS": s.Seeds["processor"]},
		Stats:     {"NATS_CREDS": s.Seeds["stats"]},
		Relayctl:  {"NATS_CREDS": s.Seeds["operator"]},
	}
}
