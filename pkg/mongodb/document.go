package mongodb

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// IsUnfitting tells that an update of fields failed because the document is not the one that the update was made for:
// a path leads through something else, an array is none. Ask it of updates only.
//
// Wrongly true: the document is read from the source once more than needed. Wrongly false: an update that a newer image
// of the document would replace is given up after its retries.
func IsUnfitting(err error) bool {
	return IsDocumentError(err) && anyCode(err, func(code int) bool {
		switch code {
		case 2, 9, 14, 28, 29, 40, 52, 54, 56, 57: // names as in isDocumentCode
			return true
		default:
			return false
		}
	})
}

// DescribeDocumentError says why a server refused a document, by code, name and the index's fields. It never shows what
// is in the document, which the server's own message does.
func DescribeDocumentError(err error) (code int, text string) {
	codes := codesOf(err)
	if len(codes) == 0 {
		return 0, ""
	}

	code = codes[0]

	text = fmt.Sprintf("%s (%d)", codeName(code), code)
	if fields := indexFields(err); len(fields) > 0 {
		text += " in the index of " + strings.Join(fields, ", ")
	}

	return code, text
}

func codeName(code int) string {
	names := map[int]string{
		2: "BadValue", 9: "FailedToParse", 14: "TypeMismatch", 22: "InvalidBSON", 28: "PathNotViable", 29: "NonExistentPath",
		40: "ConflictingUpdateOperators", 52: "DollarPrefixedFieldName", 53: "InvalidIdField", 54: "NotSingleValueField",
		55: "InvalidDBRef", 56: "EmptyFieldName", 57: "DottedFieldName", 66: "ImmutableField", 121: "DocumentValidationFailure",
		146: "ExceededMemoryLimit", 10334: "BSONObjectTooLarge", 16755: "GeoKeysCannotBeExtracted", 17280: "KeyTooLong",
		171: "CannotIndexParallelArrays", 13027: "PointNotInInterval", 17419: "UpdatedDocumentTooLarge", 17420: "DocumentTooLargeForOplog",
	}

	switch name, known := names[code]; {
	case isDuplicateKeyCode(code):
		return "DuplicateKey"
	case known:
		return name
	default:
		return "Error"
	}
}

// indexFields returns the names of the fields of the unique index that was violated.
func indexFields(err error) []string {
	for _, raw := range rawErrors(err) {
		pattern, ok := raw.Lookup("keyPattern").DocumentOK()
		if !ok {
			continue
		}

		elements, err := pattern.Elements()
		if err != nil {
			continue
		}

		fields := make([]string, len(elements))
		for i, el := range elements {
			fields[i] = el.Key()
		}

		return fields
	}

	return nil
}

func rawErrors(err error) []bson.Raw {
	var list []bson.Raw

	if bulk, ok := errors.AsType[mongo.ClientBulkWriteException](err); ok {
		for _, e := range bulk.WriteErrors {
			list = append(list, e.Raw)
		}
	}

	if bulk, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		for i := range bulk.WriteErrors {
			list = append(list, bulk.WriteErrors[i].Raw)
		}
	}

	return list
}
