package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// member is what the only member of a replica set says of itself.
type member struct {
	set  string
	file string // keeps host

	mu   sync.Mutex
	host string // as the members' list has it; empty before replSetInitiate
}

// saved is the content of the file.
type saved struct {
	Host string `json:"host"`
}

func openMember(set, file string) (*member, error) {
	m := &member{set: set, file: file}

	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}

	var s saved
	if err == nil {
		err = json.Unmarshal(content, &s)
	}

	if err != nil {
		return nil, fmt.Errorf("read the replica set's configuration: %w", err)
	}

	m.host = s.Host

	return m, nil
}

func (m *member) address() string {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.host
}

// Codes of https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml.
const (
	alreadyInitialized   = 23
	notYetInitialized    = 94
	invalidConfiguration = 93
)

// answer is the server's answer to a command that is about the set; nil for all others, which go to the server behind.
func (m *member) answer(command bson.Raw) bson.D {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return nil
	}

	switch elements[0].Key() {
	case "replSetInitiate":
		return m.initiate(elements[0].Value())
	case "replSetGetStatus":
		return m.status()
	default:
		return nil
	}
}

func refusal(code int, text string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: text}, {Key: "code", Value: code}}
}

func (m *member) initiate(value bson.RawValue) bson.D {
	var config struct {
		ID      string `bson:"_id"`
		Members []struct {
			Host string `bson:"host"`
		} `bson:"members"`
	}

	if err := value.Unmarshal(&config); err != nil || config.ID != m.set || len(config.Members) != 1 || config.Members[0].Host == "" {
		return refusal(invalidConfiguration, fmt.Sprintf("one member of the set %s is needed, not %s", m.set, value))
	}

	m.mu.Lock()
	defer m.mu.Unlock()

	if m.host != "" {
		return refusal(alreadyInitialized, "already initialized")
	}

	content, err := json.Marshal(saved{Host: config.Members[0].Host})
	if err == nil {
		err = os.WriteFile(m.file, content, 0o600)
	}

	if err != nil {
		return refusal(1, err.Error())
	}

	m.host = config.Members[0].Host

	return bson.D{{Key: "ok", Value: 1.0}}
}

func (m *member) status() bson.D {
	host := m.address()
	if host == "" {
		return refusal(notYetInitialized, "no replset config has been received")
	}

	self := bson.D{
		{Key: "_id", Value: 0},
		{Key: "name", Value: host},
		{Key: "health", Value: 1.0},
		{Key: "state", Value: 1},
		{Key: "stateStr", Value: "PRIMARY"},
		{Key: "self", Value: true},
	}

	return bson.D{
		{Key: "set", Value: m.set},
		{Key: "myState", Value: 1},
		{Key: "members", Value: bson.A{self}},
		{Key: "ok", Value: 1.0},
	}
}

// primaryFlags are the names under which hello and its predecessor say whether the member takes writes.
func primaryFlags() []string { return []string{"isWritablePrimary", "ismaster"} }

// introduce makes an answer to hello one of this member; nil for any other document.
func (m *member) introduce(answer bson.Raw) bson.D {
	isHello := false
	for _, flag := range primaryFlags() {
		isHello = isHello || answer.Lookup(flag).Type == bson.TypeBoolean
	}

	var doc bson.D
	if !isHello || answer.Lookup("setName").Type == 0 || bson.Unmarshal(answer, &doc) != nil {
		return nil
	}

	host, changed := m.address(), bson.D{}

	for _, e := range doc {
		switch e.Key {
		case "setName":
			e.Value = m.set
		case "hosts":
			e.Value = bson.A{host}
		case "me", "primary":
			e.Value = host
		case "isWritablePrimary", "ismaster":
			e.Value = host != ""
		}

		// Before it is initiated a server says of the set only that it has none.
		if of := e.Key == "setName" || e.Key == "hosts" || e.Key == "me" || e.Key == "primary" || e.Key == "setVersion" || e.Key == "electionId"; of && host == "" {
			continue
		}

		changed = append(changed, e)
	}

	if host == "" {
		changed = append(changed, bson.E{Key: "isreplicaset", Value: true}, bson.E{Key: "info", Value: "Does not have a valid replica set config"})
	}

	return changed
}
