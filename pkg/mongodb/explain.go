package mongodb

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Explain says what an operator can do about err, in one sentence; empty when there is nothing better to say than the
// error itself.
func Explain(err error) string {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, ErrInvalidURI):
		return "give a connection string as the Atlas console or rs.status() shows it: mongodb+srv://user:password@cluster.example.net or mongodb://host:27017/?replicaSet=rs0"
	case errors.Is(err, ErrStandalone), anyCode(err, isReplicaSetOnly):
		return "start mongod with --replSet rs0 and run rs.initiate() once; a single node is enough"
	case anyCode(err, func(code int) bool { return code == 18 }):
		return "check user, password and authSource of the connection string"
	case IsUnauthorized(err):
		return "give the user the missing rights: the source needs readAnyDatabase and the change stream on the whole deployment, the target needs readWriteAnyDatabase"
	case IsHistoryLost(err):
		return "the oplog no longer reaches back to the last position; make it longer before the next outage, then accept the gap with relayctl flow accept-gap"
	case IsInvalidResumeToken(err):
		return "the position belongs to another deployment or another filter; check that the URI still names the cluster the flow was made with"
	case mongo.IsTimeout(err), isNetwork(err), isRetryablePool(err):
		return "check that the server runs, that this host may reach it (Atlas: network access list), and its TLS settings"
	default:
		return ""
	}
}

// isReplicaSetOnly: 40573 is $changeStream, 20 (IllegalOperation) a transaction, on a standalone server.
func isReplicaSetOnly(code int) bool {
	return code == 40573 || code == 20
}
