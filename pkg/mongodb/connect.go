// Package mongodb connects to a MongoDB deployment and says what its errors mean.
//
// Errors are classified by server code and error label, never by text: texts change between versions. The predicates
// overlap on purpose (a commit of unknown result is often a network error too); ask the most specific one first. Each
// says what a wrong answer costs.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// ErrInvalidURI says that a connection string cannot be understood. Its text never holds the user or the password.
var ErrInvalidURI = errors.New("invalid connection string")

// Options adjusts a client.
type Options struct {
	// AppName is shown in the server's logs and currentOp.
	AppName string
	// ServerSelectionTimeout bounds how long an operation waits for a usable server; 0 is the 30 s of the driver.
	ServerSelectionTimeout time.Duration
	// MaxPoolSize bounds the connections; 0 is the 100 of the driver.
	MaxPoolSize uint64
	// Primary has the primary read, whatever the URI says.
	Primary bool
	// Monitor, when set, sees every command.
	Monitor *event.CommandMonitor
}

// heartbeat is how often the driver looks at a server unless the URI says
// otherwise. The driver's own 10 s are too long for what comes back within 2 s: an
// operation that fails while the driver's check is under way cancels that check,
// and who waits for a server then waits for the next one.
const heartbeat = 2 * time.Second

// Connect makes a client; the caller must Disconnect it. It does not wait for the deployment (Hello does), except that
// a mongodb+srv:// address is looked up in DNS.
//
// Whatever the URI says, the client has no Timeout (it would end a change stream's wait and forbids some options), no
// compression (it costs more CPU than the loopback or a cloud network saves) and majority read and write concern (a
// change that can be rolled back must be neither read nor counted as written).
func Connect(uri settings.URI, o Options) (*mongo.Client, error) {
	if err := CheckURI(uri); err != nil {
		return nil, err
	}

	opts := options.Client().ApplyURI(uri.Reveal()).
		SetAppName(o.AppName).
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetCompressors([]string{})
	opts.Timeout = nil

	if opts.HeartbeatInterval == nil {
		opts.SetHeartbeatInterval(heartbeat)
	}

	if o.ServerSelectionTimeout > 0 {
		opts.SetServerSelectionTimeout(o.ServerSelectionTimeout)
	}

	if o.MaxPoolSize > 0 {
		opts.SetMaxPoolSize(o.MaxPoolSize)
	}

	if o.Primary {
		opts.SetReadPreference(readpref.Primary())
	}

	if o.Monitor != nil {
		opts.SetMonitor(o.Monitor)
	}

	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", uri, err)
	}

	return client, nil
}

// Disconnect closes the client within five seconds, also when ctx has ended: sessions are given back to the server.
func Disconnect(ctx context.Context, client *mongo.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()

	if err := client.Disconnect(ctx); err != nil {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}

	return nil
}

// ReadsPrimary tells whether reads go to the primary by the connection string alone. It asks no DNS, which has no say in it.
func ReadsPrimary(uri settings.URI) bool {
	preference := options.Client().ApplyURI(withoutLookUp(uri)).ReadPreference

	return preference == nil || preference.Mode() == readpref.PrimaryMode
}

// withoutLookUp is a connection string of the same form whose hosts stand in it: only the driver's look-up differs.
func withoutLookUp(uri settings.URI) string {
	raw := uri.Reveal()
	if seeded, isSRV := strings.CutPrefix(raw, "mongodb+srv://"); isSRV {
		return "mongodb://" + seeded
	}

	return raw
}

// CheckURI returns ErrInvalidURI, with the reason, for a connection string that Connect would refuse. It asks no DNS:
// of a mongodb+srv:// address only the form is checked.
func CheckURI(uri settings.URI) error {
	raw := withoutLookUp(uri)
	if options.Client().ApplyURI(raw).Validate() == nil {
		return nil
	}

	// The driver's text may quote a part of the password ("invalid URL escape"). The text for the URI without its
	// secrets is safe to show; if that one parses, the fault is in what was left out.
	shown := strings.Replace(settings.NewURI(raw).String(), "[redacted]@", "user:password@", 1)
	if strings.Contains(shown, "://[redacted]") {
		return fmt.Errorf("%w %s: what stands for the hosts cannot be hosts, which have the form name:27017; is the @ behind the password missing?", ErrInvalidURI, uri)
	}

	if err := options.Client().ApplyURI(shown).Validate(); err != nil {
		return fmt.Errorf("%w %s: %w", ErrInvalidURI, uri, err)
	}

	return fmt.Errorf("%w %s: user, password or an option holds a character that must be percent-encoded (@ as %%40, : as %%3A, / as %%2F, %% as %%25)",
		ErrInvalidURI, uri)
}
