package mongotest

import (
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Answer lets a test answer commands in the place of the server, which does not get those for which f returns a document:
// for errors that need more of a deployment than a test has. Not for hello, whose answers follow each other unasked.
func (w *Wire) Answer(f func(Command) bson.D) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.answer = f
}

// CommandError is the answer of a server to which a command failed.
func CommandError(code int, name, text string) bson.D {
	return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: text}}
}

func encode(reply bson.D) bson.Raw {
	if reply == nil {
		return nil
	}

	raw, err := bson.Marshal(reply)
	if err != nil {
		panic(err) // the test's own document
	}

	return raw
}

// replyTo is the message that answers a request: its header, no flags, and one section of kind 0.
func replyTo(request []byte, body bson.Raw) []byte {
	const flagsAndKind = 4 + 1

	size := uint32(headerSize + flagsAndKind + len(body))
	message := binary.LittleEndian.AppendUint32(nil, size)
	message = binary.LittleEndian.AppendUint32(message, 0) // number of the answer
	message = append(message, request[4:8]...)             // that of the request
	message = binary.LittleEndian.AppendUint32(message, opMsg)
	message = append(message, make([]byte, flagsAndKind)...)

	return append(message, body...)
}
