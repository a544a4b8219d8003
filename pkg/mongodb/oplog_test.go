package mongodb_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

func TestTokenTime(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		data any
		at   int64 // 0: not known
	}{
		"mongod":               {data: "8265A5B2C3000000012B0229296E04", at: 0x65A5B2C3},
		"the stand-in":         {data: "2B0000001273002F0100000000000011740038010000767F066B026E000100000000036B00050000000000"},
		"too short":            {data: "8265A5"},
		"no hexadecimal, long": {data: "82ZZZZZZZZ00000001"},
		"no hexadecimal":       {data: "82ZZZZZZZZ00"},
		"another type":         {data: 7},
		"no data":              {},
		"of another beginning": {data: "8365A5B2C300000001"},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			d := bson.D{}
			if test.data != nil {
				d = append(d, bson.E{Key: "_data", Value: test.data})
			}

			token, err := bson.Marshal(d)
			require.NoError(t, err)

			at, known := mongodb.TokenTime(token)
			require.Equal(t, test.at != 0, known)

			if known {
				require.Equal(t, test.at, mongodb.TimeOf(at).Unix())
			}
		})
	}
}
