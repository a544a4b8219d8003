package event

import (
	"encoding/binary"
	"math"
	"math/big"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Tags of numbers. MongoDB compares numbers by value whatever their type
// (docs: "Comparison/Sort Order"), so each value has exactly one form here:
//
//	tagInteger  an integer that fits 64 bits, as int64
//	tagDouble   any other value that a double holds exactly, as its bits
//	tagDecimal  any other value that only a decimal holds, as sign, exponent
//	            and coefficient without trailing zeros
const (
	tagInteger     = 'i'
	tagDouble      = 'd'
	tagDecimal     = 'D'
	tagNaN         = 'n'
	tagInfinity    = '+'
	tagNegInfinity = '-'
)

func appendInteger(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, tagInteger), uint64(n)) //nolint:gosec // the bits are meant
}

func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, tagNaN)
	case math.IsInf(f, 1):
		return append(b, tagInfinity)
	case math.IsInf(f, -1):
		return append(b, tagNegInfinity)
	case f == math.Trunc(f) && f >= -(1<<63) && f < 1<<63: // -0.0 becomes 0
		return appendInteger(b, int64(f))
	default:
		return binary.BigEndian.AppendUint64(append(b, tagDouble), math.Float64bits(f))
	}
}

// decimal is coefficient · 10^exponent.
type decimal struct {
	negative    bool
	coefficient *big.Int // 0 or without a factor of 10
	exponent    int
}

func appendDecimal128(b []byte, d bson.Decimal128) []byte {
	switch {
	case d.IsNaN():
		return append(b, tagNaN)
	case d.IsInf() > 0:
		return append(b, tagInfinity)
	case d.IsInf() < 0:
		return append(b, tagNegInfinity)
	}

	n := newDecimal(d)

	if n.coefficient.Sign() == 0 {
		return appendInteger(b, 0)
	}

	if i, ok := n.int64(); ok {
		return appendInteger(b, i)
	}

	if f, ok := n.double(); ok {
		return binary.BigEndian.AppendUint64(append(b, tagDouble), math.Float64bits(f))
	}

	b = append(b, tagDecimal, sign(n.negative))
	b = binary.BigEndian.AppendUint16(b, uint16(n.exponent-bson.MinDecimal128Exp)) //nolint:gosec // 14 bits and 34 trailing zeros

	var digits [16]byte // 10^34 < 2^113
	return append(b, n.coefficient.FillBytes(digits[:])...)
}

// newDecimal takes a finite decimal. A coefficient above 34 digits counts as 0
// (IEEE 754-2008 3.5.2: a non-canonical one).
func newDecimal(d bson.Decimal128) decimal {
	high, low := d.GetBytes()
	n := decimal{negative: high>>63 == 1, coefficient: new(big.Int)}

	if high>>61&3 == 3 { // the wide form, always above 34 digits
		return n
	}

	n.exponent = int(high>>49&(1<<14-1)) + bson.MinDecimal128Exp

	var words [16]byte

	binary.BigEndian.PutUint64(words[:], high&(1<<49-1))
	binary.BigEndian.PutUint64(words[8:], low)
	n.coefficient.SetBytes(words[:])

	if n.coefficient.Cmp(power(10, 34)) >= 0 {
		n.coefficient.SetUint64(0)
	}

	n.exponent += strip(n.coefficient, 10)

	return n
}

// int64 returns the value if it is an integer of 64 bits.
func (n decimal) int64() (int64, bool) {
	if n.exponent < 0 || n.exponent > 18 { // without trailing zeros a negative exponent is a fraction
		return 0, false
	}

	v := new(big.Int).Mul(n.coefficient, power(10, n.exponent))
	if n.negative {
		v.Neg(v)
	}

	return v.Int64(), v.IsInt64()
}

// double returns the value if a double holds it exactly: its odd part must fit
// the 53 bits of a mantissa. 10^e is 2^e · 5^e, and 5^23 alone is longer, so
// exponents outside of what coefficients can undo never fit. The result is far
// from the bounds of a double's exponent.
func (n decimal) double() (float64, bool) {
	odd := new(big.Int).Set(n.coefficient)
	exponent := n.exponent

	switch {
	case exponent > 22:
		return 0, false
	case exponent >= 0:
		odd.Mul(odd, power(5, exponent))
	case strip5(odd, -exponent) < -exponent:
		return 0, false
	}

	exponent += strip(odd, 2)

	if odd.BitLen() > 53 {
		return 0, false
	}

	f := math.Ldexp(float64(odd.Uint64()), exponent)
	if n.negative {
		f = -f
	}

	return f, true
}

// strip divides v by factor as often as it goes and returns how often.
func strip(v *big.Int, factor int64) int {
	return stripUpTo(v, factor, math.MaxInt)
}

// strip5 divides v by 5 up to limit times and returns how often.
func strip5(v *big.Int, limit int) int { return stripUpTo(v, 5, limit) }

func stripUpTo(v *big.Int, factor int64, limit int) int {
	if v.Sign() == 0 {
		return 0
	}

	var (
		divisor   = big.NewInt(factor)
		quotient  = new(big.Int)
		remainder = new(big.Int)
		times     = 0
	)

	for times < limit {
		quotient.QuoRem(v, divisor, remainder)

		if remainder.Sign() != 0 {
			break
		}

		v.Set(quotient)

		times++
	}

	return times
}

func power(base int64, exponent int) *big.Int {
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(exponent)), nil)
}

func sign(negative bool) byte {
	if negative {
		return '-'
	}

	return '+'
}
