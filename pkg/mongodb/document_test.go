package mongodb_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

func TestDescriptionOfADocumentErrorShowsNoContent(t *testing.T) {
	t.Parallel()

	raw, err := bson.Marshal(bson.D{
		{Key: "keyPattern", Value: bson.D{{Key: "email", Value: 1}, {Key: "shop", Value: 1}}},
		{Key: "keyValue", Value: bson.D{{Key: "email", Value: "secret"}}},
	})
	require.NoError(t, err)

	duplicate := mongo.WriteError{Code: 11000, Message: "E11000 duplicate key error dup key: { email: secret }", Raw: raw}

	tests := map[string]struct {
		err  error
		code int
		text string
	}{
		"unique index": {mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: duplicate}}}, 11000, "DuplicateKey (11000) in the index of email, shop"},
		"the same, by bulkWrite": {
			mongo.ClientBulkWriteException{WriteErrors: map[int]mongo.WriteError{3: duplicate}}, 11000, "DuplicateKey (11000) in the index of email, shop",
		},
		"validator": {mongo.CommandError{Code: 121, Message: "secret"}, 121, "DocumentValidationFailure (121)"},
		"unknown":   {mongo.CommandError{Code: 99999, Message: "secret"}, 99999, "Error (99999)"},
		"no server": {mongo.ErrNoDocuments, 0, ""},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			code, text := mongodb.DescribeDocumentError(test.err)
			require.Equal(t, test.code, code)
			require.Equal(t, test.text, text)
		})
	}
}

func TestOnlyErrorsOfTheOldDocumentAreUnfitting(t *testing.T) {
	t.Parallel()

	for code, want := range map[int32]bool{28: true, 29: true, 2: true, 40: true, 11000: false, 121: false, 10334: false, 91: false} {
		require.Equal(t, want, mongodb.IsUnfitting(mongo.CommandError{Code: code}), "%d", code)
	}

	require.False(t, mongodb.IsUnfitting(nil))
}
