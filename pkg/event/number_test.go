package event_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"
)

// number is a BSON number and what it is worth.
type number struct {
	value any
	worth *big.Rat
}

func (n number) String() string { return fmt.Sprintf("%T %v", n.value, n.value) }

func newNumber(t require.TestingT, value any) number {
	worth := new(big.Rat)

	switch v := value.(type) {
	case int32:
		worth.SetInt64(int64(v))
	case int64:
		worth.SetInt64(v)
	case float64:
		require.NotNil(t, worth.SetFloat64(v))
	case bson.Decimal128:
		c, exponent, err := v.BigInt()
		require.NoError(t, err)

		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
		if worth.SetInt(c); exponent < 0 {
			worth.Quo(worth, new(big.Rat).SetInt(scale))
		} else {
			worth.Mul(worth, new(big.Rat).SetInt(scale))
		}
	}

	return number{value: value, worth: worth}
}

func drawNumber(t *rapid.T) number {
	var value any

	switch rapid.IntRange(0, 6).Draw(t, "type") {
	case 0:
		value = rapid.Int32().Draw(t, "int32")
	case 1:
		value = rapid.Int64().Draw(t, "int64")
	case 2:
		value = rapid.Float64().Draw(t, "double")
	case 3: // near the ends of what a mantissa holds
		value = math.Ldexp(float64(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "mantissa")), rapid.IntRange(-70, 70).Draw(t, "exponent"))
	case 4: // small fractions, which decimals hold too
		value = float64(rapid.Int64Range(-1000, 1000).Draw(t, "n")) / float64(int64(1)<<rapid.IntRange(0, 10).Draw(t, "bits"))
	case 5:
		c := rapid.StringMatching(`-?[0-9]{1,34}`).Draw(t, "coefficient")
		value = decimal128(t, fmt.Sprintf("%sE%d", c, rapid.IntRange(-40, 40).Draw(t, "exponent")))
	case 6:
		c := rapid.StringMatching(`-?[0-9]{1,34}`).Draw(t, "coefficient")
		value = decimal128(t, fmt.Sprintf("%sE%d", c, rapid.IntRange(-6176, 6111).Draw(t, "exponent")))
	}

	return newNumber(t, value)
}

// representations returns the number in every type that holds it exactly, as
// decimal also with trailing zeros.
func representations(t *rapid.T, n number) []number {
	all := []number{n}

	if n.worth.IsInt() && n.worth.Num().IsInt64() {
		i := n.worth.Num().Int64()
		all = append(all, newNumber(t, i))

		if i == int64(int32(i)) {
			all = append(all, newNumber(t, int32(i)))
		}
	}

	if f, exact := n.worth.Float64(); exact && !math.IsInf(f, 0) {
		all = append(all, newNumber(t, f))
	}

	places := rapid.IntRange(0, 45).Draw(t, "places")
	text := n.worth.FloatString(places)

	if strings.Count(text, "")-1 <= 34 { // fewer characters than digits that fit
		if d := newNumber(t, decimal128(t, text)); d.worth.Cmp(n.worth) == 0 {
			all = append(all, d)
		}
	}

	return all
}

func TestEqualNumbersShareKeyAndPartition(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		n := drawNumber(t)
		key := keyOf(t, n.value)

		for _, other := range representations(t, n) {
			require.Equal(t, key, keyOf(t, other.value), "%v and %v", n, other)
			require.Equal(t, key.Partition(16), keyOf(t, other.value).Partition(16))
		}
	})
}

func TestUnequalNumbersHaveUnequalKeys(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		a, b := drawNumber(t), drawNumber(t)
		if near := rapid.IntRange(0, 2).Draw(t, "near"); near > 0 { // what a double cannot tell from a
			f, _ := a.worth.Float64()
			if f = math.Nextafter(f, math.Inf(near-1)); !math.IsInf(f, 0) && near == 1 {
				b = newNumber(t, f)
			}
		}

		require.Equal(t, a.worth.Cmp(b.worth) == 0, keyOf(t, a.value) == keyOf(t, b.value), "%v and %v", a, b)
	})
}
