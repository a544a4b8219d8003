package event

import (
	"encoding/binary"
)

// Tags of keys that stand for no document. They are none of a value's.
const (
	tagCollection = 'C'
	tagCapped     = 'K'
	tagChange     = 'S'
)

// CollectionKey stands for all documents of a pinned collection: there documents
// may be one although their _ids differ, or the order of different ones counts.
func CollectionKey(ns Namespace, pin Pin) Key {
	tag := byte(tagCollection)
	if pin == PinCapped {
		tag = tagCapped
	}

	return Key(append(appendNames(nil, ns), tag))
}

// ChangeKey stands for the schema change at a position, and for nothing else.
func ChangeKey(ns Namespace, at Position) Key {
	b := append(appendNames(nil, ns), tagChange)
	b = binary.BigEndian.AppendUint32(b, at.T)
	b = binary.BigEndian.AppendUint32(b, at.I)

	return Key(binary.BigEndian.AppendUint32(b, at.Ordinal))
}

func appendNames(b []byte, ns Namespace) []byte { return appendName(appendName(b, ns.DB), ns.Coll) }

// Namespace returns where the key's document is, zero for what is no key.
func (k Key) Namespace() Namespace {
	db, rest := cutName(string(k))
	coll, _ := cutName(rest)

	return Namespace{DB: db, Coll: coll}
}

// In returns the key that the document has in another collection, which it has
// been moved to.
func (k Key) In(ns Namespace) Key { return Key(appendNames(nil, ns)) + Key(k.content()) }

// IsDocument tells whether the key stands for one document.
func (k Key) IsDocument() bool {
	content := k.content()

	return content == "" || content[0] != tagCollection && content[0] != tagCapped && content[0] != tagChange
}

// IsCapped tells whether the key stands for a capped collection.
func (k Key) IsCapped() bool {
	content := k.content()

	return content != "" && content[0] == tagCapped
}

// IsChange tells whether the key stands for a schema change.
func (k Key) IsChange() bool {
	content := k.content()

	return content != "" && content[0] == tagChange
}

func (k Key) content() string {
	_, rest := cutName(string(k))
	_, rest = cutName(rest)

	return rest
}

// cutName is the inverse of appendName.
func cutName(s string) (name, rest string) {
	var (
		length uint64
		n      int
	)

	for shift := uint(0); n < len(s) && n < binary.MaxVarintLen64; shift += 7 {
		c := s[n]
		n++
		length |= uint64(c&0x7f) << shift

		if c < 0x80 {
			break
		}
	}

	if length > uint64(len(s)-n) { //nolint:gosec // n is at most the length
		return "", ""
	}

	return s[n : n+int(length)], s[n+int(length):]
}
