package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Place is where a database lives: one started here, or one given by its URI.
type Place struct {
	URI    settings.URI
	Server *mongotest.Server // its Choice says what it is
	Client *mongo.Client
}

// World is everything around the services: two databases, NATS, a directory for the logs.
type World struct {
	Dir    string
	Source Place
	Target Place
	NATS   *NATS
	// Cluster is all servers of NATS where there are several; NATS is the first of them.
	Cluster Cluster
	Disk    *Disk // that NATS has for itself; nil: none
	// Secured is what NATS lets in; nil: everybody.
	Secured *Secured

	more      []*Place
	removeDir func() error
	keepDir   bool
}

// WorldOptions says which MongoDB the two places are.
type WorldOptions struct {
	Programs Programs
	// Dir takes the files of NATS and the logs, and stays when the world ends; empty: a temporary directory that does not.
	Dir    string
	Source mongotest.Choice
	Target mongotest.Choice
	// SyncOnCommit makes the stand-ins keep acknowledged writes when they are killed.
	SyncOnCommit bool
	// StandaloneTarget makes the target a server without transactions.
	StandaloneTarget bool
	// OplogMaxEntries bounds the oplog of a source that is a stand-in, so that history gets lost; 0 is no bound.
	OplogMaxEntries int
	// NATSServers is how many there are; 0 is 1.
	NATSServers int
	// NATSDisk gives NATS a disk of so many bytes for itself (see DiskLacks); 0: none.
	NATSDisk int64
	// Password, when set, is that of the user relay, whom every database asks for it.
	Password string
	// SecuredFlow, when set, is the flow whose roles alone NATS lets in, as in deploy/nats/secured.conf.
	SecuredFlow string
}

// StartWorld starts servers on free ports with their files in temporary directories. The caller must Stop it.
func StartWorld(ctx context.Context, o WorldOptions) (*World, error) {
	w := &World{Dir: o.Dir, keepDir: o.Dir != ""}

	if !w.keepDir {
		dir, remove, err := tempDir()
		if err != nil {
			return nil, err
		}

		w.Dir, w.removeDir = dir, remove
	}

	if err := w.start(ctx, o); err != nil {
		return nil, errors.Join(err, w.Stop(ctx))
	}

	return w, nil
}

func (w *World) start(ctx context.Context, o WorldOptions) error {
	var err error

	if w.Source, err = startPlace(ctx, o.Source, o.server(mongotest.Options{OplogMaxEntries: o.OplogMaxEntries})); err != nil {
		return err
	}

	if w.Target, err = startPlace(ctx, o.Target, o.server(mongotest.Options{Standalone: o.StandaloneTarget})); err != nil {
		return err
	}

	if o.NATSServers > 1 {
		if w.Cluster, err = StartCluster(ctx, o.Programs, w.Dir, o.NATSServers); err == nil {
			w.NATS = w.Cluster[0]
		}

		return err
	}

	if o.NATSDisk > 0 {
		if w.Disk, err = NewDisk(ctx, w.Dir, "nats-disk", o.NATSDisk); err != nil {
			return err
		}

		w.NATS, err = StartNATSOn(ctx, w.Disk, o.Programs, w.Dir)

		return err
	}

	if o.SecuredFlow == "" {
		w.NATS, err = StartNATS(ctx, o.Programs, w.Dir)

		return err
	}

	if w.Secured, err = Secure(ctx, w.Dir, o.SecuredFlow); err != nil {
		return err
	}

	w.NATS, err = StartSecuredNATS(ctx, o.Programs, w.Dir, w.Secured)

	return err
}

// server adds what both databases have.
func (o *WorldOptions) server(options mongotest.Options) mongotest.Options {
	options.SyncOnCommit = o.SyncOnCommit
	if o.Password != "" {
		options.Username, options.Password = "relay", o.Password
	}

	return options
}

func startPlace(ctx context.Context, choice mongotest.Choice, options mongotest.Options) (Place, error) {
	server, err := mongotest.Start(ctx, choice, options)
	if err != nil {
		return Place{}, err
	}

	client, err := mongodb.Connect(server.URI(), mongodb.Options{AppName: "atlas-relay e2e"})
	if err != nil {
		return Place{}, errors.Join(err, server.Stop())
	}

	return Place{URI: server.URI(), Server: server, Client: client}, nil
}

func (p *Place) stop(ctx context.Context) error {
	if p.Server == nil {
		return nil
	}

	return errors.Join(mongodb.Disconnect(ctx, p.Client), p.Server.Stop())
}

// JetStream connects to NATS, to any of its servers; the caller closes the connection.
func (w *World) JetStream() (*nats.Conn, jetstream.JetStream, error) {
	if w.Cluster != nil {
		return w.Cluster.JetStream()
	}

	return w.NATS.JetStream()
}

// Relay prepares a relay between the two databases.
func (w *World) Relay(ctx context.Context, programs Programs, flow string, env map[string]string) (*Relay, error) {
	return New(ctx, Options{
		Programs: programs, Dir: w.Dir, Flow: flow, Source: w.Source.URI, Target: w.Target.URI, NATS: w.NATS, Env: env,
		Of: w.Secured.settings(),
	})
}

// Add starts one more database, which Stop ends.
func (w *World) Add(ctx context.Context, choice mongotest.Choice, syncOnCommit bool) (Place, error) {
	place, err := startPlace(ctx, choice, mongotest.Options{SyncOnCommit: syncOnCommit})
	if err == nil {
		w.more = append(w.more, &place)
	}

	return place, err
}

// Between prepares a flow between any two databases, with its logs in a directory of its own: there may be several.
func (w *World) Between(ctx context.Context, programs Programs, flow string, from, to Place, env map[string]string) (*Relay, error) {
	dir := filepath.Join(w.Dir, flow)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the logs: %w", err)
	}

	return New(ctx, Options{Programs: programs, Dir: dir, Flow: flow, Source: from.URI, Target: to.URI, NATS: w.NATS, Env: env})
}

// LogFiles is the pattern of the logs of NATS and the services.
func (w *World) LogFiles() string { return filepath.Join(w.Dir, "*.log") }

// KeepLogs makes Stop leave the logs behind, and says where.
func (w *World) KeepLogs() string {
	w.keepDir = true

	return w.LogFiles()
}

// Stop ends the servers and removes their files.
func (w *World) Stop(ctx context.Context) error {
	errs := []error{w.Source.stop(ctx), w.Target.stop(ctx)}

	for _, place := range w.more {
		errs = append(errs, place.stop(ctx))
	}

	if w.Cluster != nil {
		errs = append(errs, w.Cluster.Stop(ctx))
	} else if w.NATS != nil {
		errs = append(errs, w.NATS.Stop(ctx))
	}

	if w.Disk != nil {
		errs = append(errs, w.Disk.Close())
	}

	if !w.keepDir {
		errs = append(errs, w.removeDir())
	}

	return errors.Join(errs...)
}
