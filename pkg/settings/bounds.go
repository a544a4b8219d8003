package settings

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// bound reads the tag min or max in the written form of the field's own type. A tag that does not fit panics: it is a
// mistake in our own code that the first test of the service meets.
func (f *Field) bound(tag string) (int64, bool) {
	text, found := f.tag.Lookup(tag)
	if !found {
		return 0, false
	}

	var (
		n   int64
		err error
	)

	switch f.value.Type() {
	case reflect.TypeFor[time.Duration]():
		var d time.Duration

		d, err = time.ParseDuration(text)
		n = int64(d)
	case reflect.TypeFor[Bytes]():
		var b Bytes

		err = b.UnmarshalText([]byte(text))
		n = int64(b)
	default:
		n, err = strconv.ParseInt(text, 10, 64)
	}

	if err != nil || !f.value.CanInt() {
		panic(fmt.Sprintf("settings: %s has the tag %s:%q, which does not fit %s", f.Name, tag, text, f.value.Type()))
	}

	return n, true
}
