package mongotest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

const (
	codeAlreadyInitialized = 23
	primaryRetry           = 20 * time.Millisecond
)

// prepare makes a new server a replica set that takes writes, with its user. The stand-ins are one from the start.
func (s *Server) prepare(ctx context.Context) error {
	client, err := mongo.Connect(options.Client().ApplyURI(s.uriWithoutUser().Reveal()))
	if err != nil {
		return fmt.Errorf("prepare the server: %w", err)
	}

	err = s.initiate(ctx, client)
	if err == nil && s.options.Username != "" {
		err = s.createUser(ctx, client)
	}

	return errors.Join(err, mongodb.Disconnect(ctx, client))
}

func (s *Server) initiate(ctx context.Context, client *mongo.Client) error {
	isMongod := s.choice.Flavor == Mongod || s.choice.Flavor == MongodInDocker
	if isMongod && !s.options.Standalone {
		config := bson.D{{Key: "_id", Value: replicaSet}, {Key: "members", Value: bson.A{
			bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: s.memberHost()}},
		}}}

		err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err()

		var known mongo.CommandError
		if err != nil && (!errors.As(err, &known) || !known.HasErrorCode(codeAlreadyInitialized)) {
			return fmt.Errorf("initiate the replica set: %w", err)
		}
	}

	return awaitPrimary(ctx, client)
}

// memberHost is how the only member of the set reaches itself.
func (s *Server) memberHost() string {
	if s.choice.Flavor == MongodInDocker {
		return "127.0.0.1:27017"
	}

	return s.Addr()
}

func awaitPrimary(ctx context.Context, client *mongo.Client) error {
	ticker := time.NewTicker(primaryRetry)
	defer ticker.Stop()

	for {
		hello, err := mongodb.SayHello(ctx, client)
		if err == nil && hello.WritablePrimary {
			return nil
		}

		if err != nil && !mongodb.IsTransient(err) {
			return fmt.Errorf("wait for a primary: %w", err)
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a primary: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func (s *Server) createUser(ctx context.Context, client *mongo.Client) error {
	command := bson.D{
		{Key: "createUser", Value: s.options.Username},
		{Key: "pwd", Value: s.options.Password},
		{Key: "roles", Value: bson.A{"root"}},
	}
	if err := client.Database("admin").RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("make the user %s: %w", s.options.Username, err)
	}

	return nil
}
