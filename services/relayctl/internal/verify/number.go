package verify

import (
	"cmp"
	"math"
	"math/big"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// compareNumbers compares by value, exactly: NaN is the lowest and equal to itself, -0.0 is 0.
func compareNumbers(a, b bson.RawValue) int {
	if isInteger(a) && isInteger(b) {
		return cmp.Compare(a.AsInt64(), b.AsInt64())
	}

	if a.Type == bson.TypeDouble && b.Type == bson.TypeDouble {
		return cmp.Compare(a.Double(), b.Double()) // orders NaN as wanted
	}

	kindA, kindB := kindOf(a), kindOf(b)
	if kindA != finite || kindB != finite {
		return cmp.Compare(kindA, kindB)
	}

	return rational(a).Cmp(rational(b))
}

func isInteger(v bson.RawValue) bool { return v.Type == bson.TypeInt32 || v.Type == bson.TypeInt64 }

// kind is where a number stands among those that are none.
type kind int

const (
	notANumber kind = iota
	negativeInfinity
	finite
	infinity
)

func kindOf(v bson.RawValue) kind {
	switch v.Type {
	case bson.TypeDouble:
		f := v.Double()

		switch {
		case math.IsNaN(f):
			return notANumber
		case math.IsInf(f, -1):
			return negativeInfinity
		case math.IsInf(f, 1):
			return infinity
		}
	case bson.TypeDecimal128:
		d := v.Decimal128()

		switch {
		case d.IsNaN():
			return notANumber
		case d.IsInf() < 0:
			return negativeInfinity
		case d.IsInf() > 0:
			return infinity
		}
	default:
	}

	return finite
}

// rational takes a finite number.
func rational(v bson.RawValue) *big.Rat {
	switch v.Type {
	case bson.TypeDouble:
		return new(big.Rat).SetFloat64(v.Double())
	case bson.TypeDecimal128:
		coefficient, exponent, err := v.Decimal128().BigInt()
		if err != nil {
			return new(big.Rat)
		}

		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
		if exponent < 0 {
			return new(big.Rat).SetFrac(coefficient, scale)
		}

		return new(big.Rat).SetInt(coefficient.Mul(coefficient, scale))
	default:
		return new(big.Rat).SetInt64(v.AsInt64())
	}
}
