// Package catalog is what a deployment says of its collections, views and
// indexes: read, compared with that of another deployment, and made there.
//
// Two definitions are equal when they mean the same: defaults written out or
// left out, 1 or 1.0, an empty validator or none. What is not compared stands in
// one place, the lists at the head of definition.go.
//
// # Expiry
//
// A TTL index of the target would delete documents by itself, beside the deletes
// that arrive from the source. So its expireAfterSeconds is set to Dormant, the
// largest value that the server takes, and comparisons ask only whether both
// sides have one. It is still a TTL index: whoever makes the target the master
// sets the real value with collMod.
package catalog
