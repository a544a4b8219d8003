package apply

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// NewSession returns a session for transactions. It is not causally consistent:
// that would put a read concern on the first statement.
func NewSession(client *mongo.Client) (*mongo.Session, error) {
	session, err := client.StartSession(options.Session().SetCausalConsistency(false))
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}

	return session, nil
}

// SessionID returns what identifies a session to EndTransactions: the id of its
// lsid.
func SessionID(session *mongo.Session) bson.Binary {
	subtype, data := session.ID().Lookup("id").Binary()

	return bson.Binary{Subtype: subtype, Data: data}
}

// EndTransactions ends the transaction that was left open in a session, by a
// client that was killed or cut off. The target would keep it, and its lock on
// the checkpoint, for transactionLifetimeLimitSeconds, a minute by default:
// nobody notices the end of a client. Every user may kill its own sessions;
// those of another user stay
// (https://www.mongodb.com/docs/manual/reference/command/killSessions/), and so
// does a transaction that has committed.
func EndTransactions(ctx context.Context, client *mongo.Client, session bson.Binary) error {
	if len(session.Data) == 0 {
		return nil
	}

	command := bson.D{{Key: "killSessions", Value: bson.A{bson.D{{Key: "id", Value: session}}}}}
	if err := client.Database("admin").RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("end open transactions: %w", err)
	}

	return nil
}
