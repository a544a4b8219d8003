package mongodb

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Labels of the server and the driver:
// https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md#error-labels
const (
	labelTransientTransaction = "TransientTransactionError"
	labelUnknownCommit        = "UnknownTransactionCommitResult"
	labelRetryableWrite       = "RetryableWriteError"
	labelRetryable            = "RetryableError"
	labelOverloaded           = "SystemOverloadedError"
	labelResumable            = "ResumableChangeStreamError"
	labelNetwork              = "NetworkError"
)

// IsTransient tells that the same call can succeed later without anybody changing anything: the network, a timeout, an
// election, a conflict of transactions, a full disk. The caller waits with backoff and counts no attempt against a
// document. The end of the caller's own context is not transient, its deadline is.
//
// Wrongly true: the caller waits for ever on an error that stays, visibly so. Wrongly false: a document is blamed for
// an outage, and its event ends as a dead letter.
func IsTransient(err error) bool {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, mongo.ErrClientDisconnected), IsUnauthorized(err):
		return false
	case mongo.IsTimeout(err), isNetwork(err), isRetryablePool(err):
		return true
	case hasLabel(err, labelTransientTransaction, labelRetryableWrite, labelRetryable, labelOverloaded):
		return true
	default:
		return anyCode(err, isTransientCode)
	}
}

// IsCommitUnknown tells that a commitTransaction may or may not have taken effect. Ask it before IsTransient: repeating
// the commit is right, repeating the transaction is not before its outcome has been read.
//
// Wrongly true: one needless read of the checkpoint. Wrongly false: a batch may be applied twice.
func IsCommitUnknown(err error) bool {
	return hasLabel(err, labelUnknownCommit)
}

// IsHistoryLost tells that the oplog no longer reaches back to the resume token (286 ChangeStreamHistoryLost, 136
// CappedPositionLost). No retry helps: changes are missing for good.
//
// Wrongly true: a person is called for nothing. Wrongly false: the listener retries for ever and the gap grows unseen.
func IsHistoryLost(err error) bool {
	return anyCode(err, func(code int) bool { return code == 286 || code == 136 })
}

// IsInvalidResumeToken tells, of the error of a change stream, that the token is no position of it: of another
// deployment, of a stream with another filter, damaged (280 ChangeStreamFatalError, 260 InvalidResumeToken; 9
// FailedToParse, 40647 and 40649 for a token that cannot be decoded). Misjudging costs the same as for IsHistoryLost.
func IsInvalidResumeToken(err error) bool {
	return anyCode(err, func(code int) bool {
		return code == 280 || code == 260 || code == 9 || code == 40647 || code == 40649
	})
}

// IsMissingImage tells that a pre- or post-image that the change stream requires no longer exists (47
// NoMatchingDocument). Recreating the stream at the same token meets it again.
func IsMissingImage(err error) bool {
	return anyCode(err, func(code int) bool { return code == 47 })
}

// IsEventTooLarge tells, of the error of a change stream, that an event is above the 16 MiB that one may have (10334
// BSONObjectTooLarge): the server is one before 6.0.9, which does not split it. Recreating the stream at the same token
// meets it again.
//
// Wrongly true: a listener stops for what would have passed. Wrongly false: it retries for ever, and nobody learns what helps.
func IsEventTooLarge(err error) bool {
	return anyCode(err, func(code int) bool { return code == 10334 })
}

// IsResumableChangeStreamError tells that a new change stream, opened after the last token, will go on: everything
// transient, and a cursor that the server lost or killed. The ChangeStream that returned the error is dead in any case.
//
// Wrongly true: a loop of reopening at the backoff's cap. Wrongly false: a listener that stops for a restart of a server.
func IsResumableChangeStreamError(err error) bool {
	if IsHistoryLost(err) || IsInvalidResumeToken(err) || IsMissingImage(err) || IsEventTooLarge(err) {
		return false
	}

	return IsTransient(err) || hasLabel(err, labelResumable) || anyCode(err, func(code int) bool {
		return code == 43 || code == 237 || code == 234 // CursorNotFound, CursorKilled, RetryChangeStream
	})
}

// IsDuplicateKey tells that a unique index refused a write. Unlike mongo.IsDuplicateKeyError it sees into a
// ClientBulkWriteException.
//
// Wrongly true: an event waits in parked for another document that never moves. Wrongly false: it is retried as the
// document's own error and ends as a dead letter although order would have solved it.
func IsDuplicateKey(err error) bool {
	return anyCode(err, isDuplicateKeyCode)
}

// IsUnauthorized tells that the credentials or the rights are wrong: 13 Unauthorized, 18 AuthenticationFailed, 8000
// AtlasError (what an Atlas proxy answers to bad credentials and to commands its tier forbids). No retry helps.
//
// Wrongly true: a service stops although waiting would have helped. Wrongly false: it waits for ever, and may lock the
// account.
func IsUnauthorized(err error) bool {
	return anyCode(err, func(code int) bool { return code == 13 || code == 18 || code == 8000 })
}

// IsNamespaceExists tells that a create found the collection already there (48 NamespaceExists).
func IsNamespaceExists(err error) bool {
	return anyCode(err, func(code int) bool { return code == 48 })
}

// IsNamespaceNotFound tells that there is no such collection, view or database (26 NamespaceNotFound).
func IsNamespaceNotFound(err error) bool {
	return anyCode(err, func(code int) bool { return code == 26 })
}

// IsView tells that the command is not for views (166 CommandNotSupportedOnView).
func IsView(err error) bool {
	return anyCode(err, func(code int) bool { return code == 166 })
}

// IsIndexNotFound tells that the collection has no such index (27 IndexNotFound).
func IsIndexNotFound(err error) bool {
	return anyCode(err, func(code int) bool { return code == 27 })
}

// IsIndexConflict tells that an index of that name, or of that key, is there with another definition (85
// IndexOptionsConflict, 86 IndexKeySpecsConflict, 68 IndexAlreadyExists).
func IsIndexConflict(err error) bool {
	return anyCode(err, func(code int) bool { return code == 85 || code == 86 || code == 68 })
}

// IsOtherCollection tells that the collection of that name is not the one whose UUID the command gave (361
// CollectionUUIDMismatch).
func IsOtherCollection(err error) bool {
	return anyCode(err, func(code int) bool { return code == 361 })
}

// IsUnknownField tells that the server's command has no field of a name that was given (40415 IDLUnknownField).
func IsUnknownField(err error) bool {
	return anyCode(err, func(code int) bool { return code == 40415 })
}

// IsDocumentError tells that a write failed for a reason of the document itself: the same write fails again on a
// healthy server. An error that holds anything transient is none, so that an outage that hits a batch with a bad
// document is an outage first. Where the server blames single writes of a batch, the code need not be known: kinds of
// indexes have codes of their own.
//
// Wrongly true: events of healthy documents are parked during an outage. Wrongly false: one bad document stops its
// partition.
func IsDocumentError(err error) bool {
	codes := codesOf(err)
	if len(codes) == 0 || IsTransient(err) || IsUnauthorized(err) {
		return false
	}

	return blamesWrites(err) || !slices.ContainsFunc(codes, func(code int) bool { return !isDocumentCode(code) })
}

// blamesWrites tells that nothing but single writes of a batch failed.
func blamesWrites(err error) bool {
	if bulk, ok := errors.AsType[mongo.ClientBulkWriteException](err); ok {
		return bulk.WriteError == nil && len(bulk.WriteConcernErrors) == 0 && len(bulk.WriteErrors) > 0
	}

	if bulk, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		return bulk.WriteConcernError == nil && len(bulk.WriteErrors) > 0
	}

	return false
}

func isDuplicateKeyCode(code int) bool {
	switch code {
	case 11000, 11001, 12582: // DuplicateKey, the same on update, the same in a capped collection
		return true
	default:
		return false
	}
}

// isDocumentCode: names as in https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
func isDocumentCode(code int) bool {
	switch code {
	case 2, // BadValue
		9,     // FailedToParse
		14,    // TypeMismatch
		22,    // InvalidBSON
		28,    // PathNotViable
		29,    // NonExistentPath
		40,    // ConflictingUpdateOperators
		52,    // DollarPrefixedFieldName
		53,    // InvalidIdField
		54,    // NotSingleValueField
		55,    // InvalidDBRef
		56,    // EmptyFieldName
		57,    // DottedFieldName
		66,    // ImmutableField
		121,   // DocumentValidationFailure
		146,   // ExceededMemoryLimit
		10334, // BSONObjectTooLarge
		16755, // a geo index cannot read the value
		17280, // KeyTooLong
		17419, // the updated document is larger than 16 MiB
		17420: // the same, for a document and its oplog entry
		return true
	default:
		return isDuplicateKeyCode(code)
	}
}

// isTransientCode holds what the server does not label everywhere (labels are missing outside transactions, on old
// servers and inside a ClientBulkWriteException).
func isTransientCode(code int) bool {
	switch code {
	case 6, 7, 89, 9001, 202, // HostUnreachable, HostNotFound, NetworkTimeout, SocketException, NetworkInterfaceExceededTimeLimit
		91, 11600, 11602, // ShutdownInProgress, InterruptedAtShutdown, InterruptedDueToReplStateChange
		189, 10107, 13435, 13436, // PrimarySteppedDown, NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary
		133, 134, // FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet
		50, 262, // MaxTimeMSExpired, ExceededTimeLimit
		64, 100, // WriteConcernTimeout, UnsatisfiableWriteConcern
		24, 46, 112, // LockTimeout, LockBusy, WriteConflict
		225, 251, 290, // TransactionTooOld, NoSuchTransaction, TransactionExceededLifetimeLimitSeconds
		117, 215, 12586, 12587, // ConflictingOperationInProgress, DatabaseDropPending, an index build is in the way (of the database, of the collection)
		276,      // IndexBuildAborted: by an election
		239, 246, // SnapshotTooOld, SnapshotUnavailable
		63, 150, 13388, // StaleShardVersion, StaleEpoch, StaleConfig
		14031, // OutOfDiskSpace
		317,   // ConnectionPoolExpired
		365,   // TemporarilyUnavailable
		391:   // ReauthenticationRequired
		return true
	default:
		return false
	}
}

func codesOf(err error) []int {
	if err == nil {
		return nil
	}

	return slices.DeleteFunc(mongo.ErrorCodes(err), func(code int) bool { return code == 0 }) // 0: no reply of a server
}

func anyCode(err error, is func(int) bool) bool {
	return slices.ContainsFunc(codesOf(err), is)
}

func hasLabel(err error, labels ...string) bool {
	if labelled, ok := errors.AsType[mongo.LabeledError](err); ok && slices.ContainsFunc(labels, labelled.HasErrorLabel) {
		return true
	}

	// The driver's ClientBulkWriteException is no LabeledError, but keeps the server's reply.
	if bulk, ok := errors.AsType[mongo.ClientBulkWriteException](err); ok && bulk.WriteError != nil {
		return slices.ContainsFunc(labelsOf(bulk.WriteError.Raw), func(l string) bool { return slices.Contains(labels, l) })
	}

	return false
}

func labelsOf(reply bson.Raw) []string {
	var parsed struct {
		Labels []string `bson:"errorLabels"`
	}
	if len(reply) == 0 || bson.Unmarshal(reply, &parsed) != nil {
		return nil
	}

	return parsed.Labels
}

// isNetwork: the driver labels an operation that broke, but not a connection that could not be made.
func isNetwork(err error) bool {
	if hasLabel(err, labelNetwork) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}

	_, ok := errors.AsType[net.Error](err)

	return ok
}

// isRetryablePool: after one operation met a broken connection, the driver fails the others that were waiting for one
// with an error that has neither label nor code, but this method.
func isRetryablePool(err error) bool {
	var pool interface{ Retryable() bool }

	return errors.As(err, &pool) && pool.Retryable()
}
