package catalog

import "go.mongodb.org/mongo-driver/v2/bson"

// Expiry values of the target, in seconds: the largest that servers take.
const (
	// DormantIndex is the bound of TTL indexes, an int32: 68 years.
	DormantIndex = 1<<31 - 1
	// DormantCollection is that of clustered collections, where the server
	// refuses what reaches back behind 1970; 1.7 billion seconds are 54 years.
	DormantCollection = 1_700_000_000
)

// Dormant returns the expireAfterSeconds that the target gets for one of the
// source: it deletes nothing that the source would not have deleted long before.
// collection says that the value is a clustered collection's own, not an index's.
func Dormant(source bson.RawValue, collection bool) int64 {
	if !collection {
		return DormantIndex
	}

	seconds, _ := source.AsInt64OK()

	return max(seconds, DormantCollection)
}
