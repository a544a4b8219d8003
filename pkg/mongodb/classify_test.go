package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// predicates in the order of the columns of TestClasses.
func predicates() map[string]func(error) bool {
	return map[string]func(error) bool{
		"transient":      mongodb.IsTransient,
		"commit unknown": mongodb.IsCommitUnknown,
		"history lost":   mongodb.IsHistoryLost,
		"invalid token":  mongodb.IsInvalidResumeToken,
		"missing image":  mongodb.IsMissingImage,
		"large event":    mongodb.IsEventTooLarge,
		"resumable":      mongodb.IsResumableChangeStreamError,
		"duplicate key":  mongodb.IsDuplicateKey,
		"unauthorized":   mongodb.IsUnauthorized,
		"exists":         mongodb.IsNamespaceExists,
		"document":       mongodb.IsDocumentError,
	}
}

func command(code int32, labels ...string) error {
	return fmt.Errorf("apply: %w", mongo.CommandError{Code: code, Labels: labels})
}

func bulk(codes ...int) error {
	failed := map[int]mongo.WriteError{}
	for i, code := range codes {
		failed[i] = mongo.WriteError{Index: i, Code: code}
	}

	return fmt.Errorf("apply: %w", mongo.ClientBulkWriteException{WriteErrors: failed})
}

func bulkReply(t *testing.T, code int, labels ...string) error {
	t.Helper()

	raw, err := bson.Marshal(bson.D{{Key: "code", Value: code}, {Key: "errorLabels", Value: labels}})
	require.NoError(t, err)

	return mongo.ClientBulkWriteException{WriteError: &mongo.WriteError{Code: code, Raw: raw}}
}

type poolError struct{ error }

func (poolError) Retryable() bool { return true }

func TestClasses(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"nothing":                             {nil, nil},
		"foreign error":                       {errors.New("E11000 duplicate key"), nil},
		"cancelled":                           {fmt.Errorf("apply: %w", context.Canceled), nil},
		"cancelled while the network broke":   {fmt.Errorf("%w: %w", context.Canceled, io.EOF), nil},
		"deadline":                            {context.DeadlineExceeded, []string{"transient", "resumable"}},
		"our own disconnect":                  {mongo.ErrClientDisconnected, nil},
		"dial":                                {&net.OpError{Op: "dial", Err: errors.New("refused")}, []string{"transient", "resumable"}},
		"broken connection":                   {fmt.Errorf("socket: %w", io.EOF), []string{"transient", "resumable"}},
		"cleared pool":                        {fmt.Errorf("apply: %w", poolError{errors.New("cleared")}), []string{"transient", "resumable"}},
		"network label":                       {command(0, "NetworkError"), []string{"transient", "resumable"}},
		"not primary":                         {command(10107), []string{"transient", "resumable"}},
		"transaction conflict":                {command(112, "TransientTransactionError"), []string{"transient", "resumable"}},
		"conflict without its label":          {bulk(112), []string{"transient", "resumable"}},
		"a bad document and a conflict":       {bulk(121, 112), []string{"transient", "resumable"}},
		"label within a client bulk":          {bulkReply(t, 4711, "TransientTransactionError"), []string{"transient", "resumable"}},
		"no label within a client bulk":       {bulkReply(t, 4711), nil},
		"document code of a lost transaction": {command(2, "TransientTransactionError"), []string{"transient", "resumable"}},
		"disk full":                           {command(14031), []string{"transient", "resumable"}},
		"commit unknown":                      {command(0, "UnknownTransactionCommitResult", "NetworkError"), []string{"transient", "commit unknown", "resumable"}},
		"commit unknown on a write concern":   {command(64, "UnknownTransactionCommitResult"), []string{"transient", "commit unknown", "resumable"}},
		"history lost":                        {command(286, "NonResumableChangeStreamError"), []string{"history lost"}},
		"history lost and labelled":           {command(286, "ResumableChangeStreamError"), []string{"history lost"}},
		"capped position":                     {command(136), []string{"history lost"}},
		"token not found":                     {command(280), []string{"invalid token"}},
		"malformed token":                     {command(260), []string{"invalid token"}},
		"image gone":                          {command(47), []string{"missing image"}},
		"cursor not found":                    {command(43), []string{"resumable"}},
		"labelled resumable":                  {command(4711, "ResumableChangeStreamError"), []string{"resumable"}},
		"duplicate in a client bulk":          {bulk(11000), []string{"duplicate key", "document"}},
		"duplicate in a write exception":      {mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000}}}, []string{"duplicate key", "document"}},
		"validation in a client bulk":         {bulk(121), []string{"document"}},
		"two bad documents":                   {bulk(121, 11000), []string{"duplicate key", "document"}},
		"a bad document during an outage":     {bulk(121, 10107), []string{"transient", "resumable"}},
		"single writes with unknown codes":    {bulk(121, 4711), []string{"document"}},
		"unknown code of the whole batch":     {command(4711), nil},
		"single writes without the rights":    {bulk(13), []string{"unauthorized"}},
		"path not viable":                     {bulk(28), []string{"document"}},
		"too large":                           {command(10334), []string{"document", "large event"}},
		"large event and labelled":            {command(10334, "ResumableChangeStreamError"), []string{"document", "large event"}},
		"authentication":                      {command(18), []string{"unauthorized"}},
		"rights":                              {command(13), []string{"unauthorized"}},
		"exists":                              {command(48), []string{"exists"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := []string{}

			for class, is := range predicates() {
				if is(c.err) {
					got = append(got, class)
				}
			}

			require.ElementsMatch(t, c.want, got)
		})
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		err  error
		said string
	}{
		"standalone":     {fmt.Errorf("start: %w", mongodb.ErrStandalone), "rs.initiate()"},
		"change stream":  {command(40573), "rs.initiate()"},
		"transaction":    {command(20), "rs.initiate()"},
		"password":       {command(18), "authSource"},
		"rights":         {command(13), "readAnyDatabase"},
		"history":        {command(286), "accept-gap"},
		"token":          {command(280), "another deployment"},
		"network":        {io.EOF, "network access list"},
		"nothing to say": {command(4711), ""},
		"stopping":       {context.Canceled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if c.said == "" {
				require.Empty(t, mongodb.Explain(c.err))
			} else {
				require.Contains(t, mongodb.Explain(c.err), c.said)
			}
		})
	}
}
