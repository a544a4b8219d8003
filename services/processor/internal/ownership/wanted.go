package ownership

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// claimant is a member that bids for a partition.
type claimant struct {
	weight    uint64
	member    string
	partition int
}

// wanted says who should own each partition, by the members alone: every
// processor that sees the same members gets the same answer, in whatever order it
// heard of them.
//
// It is rendezvous hashing with a bounded load. Each pair of member and partition
// has a random weight; the heaviest pair is served first, until a member has its
// share: nobody gets more than ceil(P/N) or less than floor(P/N) partitions.
// Without the bound one of three members gets up to 13 of 16 partitions, and the
// slowest member is the speed of the flow. The bound costs moves: when a member
// joins or leaves, on average 1.0 to 2.1 times as many partitions move as it has
// to get or to give (plain rendezvous hashing: 1.0).
//
// The hash is part of the contract between processors of different versions.
func wanted(partitions int, members []string) []string {
	owners := make([]string, partitions)
	if len(members) == 0 {
		return owners
	}

	bids := make([]claimant, 0, partitions*len(members))

	for _, m := range members {
		seed := hash(m)
		for p := range partitions {
			bids = append(bids, claimant{weight: mix(seed + uint64(p+1)*golden), member: m, partition: p})
		}
	}

	slices.SortFunc(bids, func(a, b claimant) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.member, b.member), cmp.Compare(a.partition, b.partition))
	})

	share, extra := partitions/len(members), partitions%len(members)
	load := make(map[string]int, len(members))

	for _, b := range bids {
		full := load[b.member] > share || load[b.member] == share && extra == 0
		if owners[b.partition] != "" || full {
			continue
		}

		if load[b.member] == share {
			extra--
		}

		owners[b.partition] = b.member
		load[b.member]++
	}

	return owners
}

// golden spreads consecutive numbers over 64 bits (2^64 divided by the golden
// ratio), as in SplitMix64, whose finalizer mix is.
const golden = 0x9e3779b97f4a7c15

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb

	return x ^ x>>31
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails

	return h.Sum64()
}
