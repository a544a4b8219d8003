package mongotest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Need is a right that mongod asks for: an action on a collection ("" is every one of the database), on every database
// (DB ""), or on the cluster. What the stand-in accepts proves nothing alone, it
// may ask for less than mongod; what mongod documents for each command is written down here.
type Need struct {
	Cluster  bool
	DB, Coll string
	Action   string
	Or       string // an action that does as well; may be empty
}

// free are the commands that every user who is logged in may send, for what is its own (its cursors, its sessions).
func free() []string {
	return []string{
		"hello", "isMaster", "ismaster", "ping", "buildInfo", "saslStart", "saslContinue", "connectionStatus",
		"endSessions", "killSessions", "getMore", "killCursors", "commitTransaction", "abortTransaction",
	}
}

// Needs are the rights that mongod asks for the command. One that is not known here needs the action "?", which no role
// has.
func (c Command) Needs() []Need {
	need := func(actions ...string) (needs []Need) {
		for _, a := range actions {
			needs = append(needs, Need{DB: c.DB, Coll: c.Coll(), Action: a})
		}

		return needs
	}

	switch c.Name {
	case "find", "count", "distinct":
		return need("find")
	case "aggregate":
		return c.ofPipeline()
	case "insert":
		return need(append(c.bypass(), "insert")...)
	case "update":
		return need(append(c.bypass(), updating(c.documents("updates"))...)...)
	case "delete":
		return need("remove")
	case "findAndModify":
		if isTrue(c.Body, "remove") {
			return need("find", "remove")
		}

		return need(append(c.bypass(), append(updating([]bson.Raw{c.Body}), "find")...)...)
	case "bulkWrite":
		return c.ofBulk()
	case "create": // https://www.mongodb.com/docs/manual/reference/command/create/#access-control
		return []Need{{DB: c.DB, Coll: c.Coll(), Action: "createCollection", Or: "insert"}}
	case "createIndexes":
		return need("createIndex")
	case "listIndexes", "collStats", "collMod":
		return need(c.Name)
	case "drop":
		return need("dropCollection")
	case "dropIndexes":
		return need("dropIndex")
	case "renameCollection":
		return c.ofRename()
	case "listCollections":
		return []Need{{DB: c.DB, Action: c.Name}}
	case "listDatabases":
		return []Need{{Cluster: true, Action: c.Name}}
	}

	if slices.Contains(free(), c.Name) {
		return nil
	}

	return need("?" + c.Name)
}

// ofRename: https://www.mongodb.com/docs/manual/reference/command/renameCollection/#access-control
func (c Command) ofRename() []Need {
	from, fromColl, _ := strings.Cut(c.Body.Lookup(c.Name).StringValue(), ".")
	to, toColl, _ := strings.Cut(c.Body.Lookup("to").StringValue(), ".")

	var needs []Need
	if isTrue(c.Body, "dropTarget") {
		needs = append(needs, Need{DB: to, Coll: toColl, Action: "dropCollection"})
	}

	if from == to {
		return append(needs, Need{DB: from, Action: "renameCollectionSameDB"})
	}

	return append(needs,
		Need{DB: from, Coll: fromColl, Action: "find"}, Need{DB: from, Coll: fromColl, Action: "dropCollection"},
		Need{DB: to, Coll: toColl, Action: "insert"}, Need{DB: to, Coll: toColl, Action: "createIndex"})
}

func (c Command) ofPipeline() []Need {
	if _, whole := c.Body.Lookup("pipeline", "0", "$changeStream", "allChangesForCluster").BooleanOK(); whole {
		return []Need{{Action: "find"}, {Action: "changeStream"}}
	}

	text := c.Body.Lookup("pipeline").String()
	for _, stage := range []string{"$out", "$merge", "$changeStream", "$collStats"} { // not used, hence not known
		if strings.Contains(text, `"`+stage+`"`) {
			return []Need{{DB: c.DB, Coll: c.Coll(), Action: "?" + stage}}
		}
	}

	return append(c.ofLookups(), Need{DB: c.DB, Coll: c.Coll(), Action: "find"})
}

// ofLookups are the rights on the collections that the pipeline's own $lookup stages read.
func (c Command) ofLookups() (needs []Need) {
	stages, _ := c.Body.Lookup("pipeline").Array().Values()

	for _, stage := range stages {
		if from, ok := stage.Document().Lookup("$lookup", "from").StringValueOK(); ok {
			needs = append(needs, Need{DB: c.DB, Coll: from, Action: "find"})
		}
	}

	return needs
}

func (c Command) ofBulk() []Need {
	var needs []Need

	spaces := c.documents("nsInfo")

	for _, op := range c.documents("ops") {
		elements, _ := op.Elements()
		index, _ := elements[0].Value().AsInt64OK()
		db, coll, _ := strings.Cut(spaces[index].Lookup("ns").StringValue(), ".")

		actions := c.bypass()

		switch elements[0].Key() {
		case "insert":
			actions = append(actions, "insert")
		case "update":
			actions = append(actions, updating([]bson.Raw{op})...)
		case "delete":
			actions = []string{"remove"}
		}

		for _, a := range actions {
			needs = append(needs, Need{DB: db, Coll: coll, Action: a})
		}
	}

	return needs
}

// documents are the command's list of this name, wherever it travels.
func (c Command) documents(name string) []bson.Raw {
	list := slices.Clone(c.Sections[name])

	if array, ok := c.Body.Lookup(name).ArrayOK(); ok {
		values, _ := array.Values()
		for _, v := range values {
			list = append(list, v.Document())
		}
	}

	return list
}

func (c Command) bypass() []string {
	if isTrue(c.Body, "bypassDocumentValidation") {
		return []string{"bypassDocumentValidation"}
	}

	return nil
}

func updating(updates []bson.Raw) []string {
	if slices.ContainsFunc(updates, func(u bson.Raw) bool { return isTrue(u, "upsert") }) {
		return []string{"update", "insert"}
	}

	return []string{"update"}
}

func isTrue(document bson.Raw, field string) bool {
	value, ok := document.Lookup(field).BooleanOK()

	return ok && value
}

// Privilege is an entry of a role.
type Privilege struct {
	Resource struct {
		Cluster bool    `bson:"cluster"`
		DB      *string `bson:"db"`
		Coll    *string `bson:"collection"`
	} `bson:"resource"`
	Actions []string `bson:"actions"`
}

// Privileges of a role as Role reads it.
func Privileges(tb testing.TB, role bson.D) []Privilege {
	tb.Helper()

	raw, err := bson.Marshal(role)
	require.NoError(tb, err)

	var parsed struct {
		Privileges []Privilege `bson:"privileges"`
		Roles      bson.A      `bson:"roles"`
	}
	require.NoError(tb, bson.Unmarshal(raw, &parsed))
	require.Empty(tb, parsed.Roles, "a role that inherits cannot be judged here")

	return parsed.Privileges
}

// Covers tells whether the privilege gives what is needed, as mongod decides: {db: "", collection: ""} is every
// collection of every database but local and config, and none of the server's own (system.*).
func (p Privilege) Covers(n Need) bool {
	r := p.Resource

	switch {
	case !slices.Contains(p.Actions, n.Action) && !slices.Contains(p.Actions, n.Or), r.Cluster != n.Cluster:
		return false
	case n.Cluster:
		return true
	case r.DB == nil || r.Coll == nil:
		return false
	}

	inDB := *r.DB == n.DB || *r.DB == "" && n.DB != "local" && n.DB != "config"
	inColl := *r.Coll == n.Coll || *r.Coll == "" && !strings.HasPrefix(n.Coll, "system.")

	return inDB && inColl
}

// Uncovered are the needs of the commands that no privilege gives, each once.
func Uncovered(privileges []Privilege, commands []Command) []Need {
	var missing []Need

	for _, c := range commands {
		for _, n := range c.Needs() {
			covered := slices.ContainsFunc(privileges, func(p Privilege) bool { return p.Covers(n) })
			if !covered && !slices.Contains(missing, n) {
				missing = append(missing, n)
			}
		}
	}

	return missing
}

// RequireExact tells that the role has every right that the commands need, and that each action it lists is needed:
// taken away alone, something is not covered. Actions named as "resource action" in spare are known not to be used.
func RequireExact(tb testing.TB, role bson.D, commands []Command, spare ...string) {
	tb.Helper()

	privileges := Privileges(tb, role)
	require.Empty(tb, Uncovered(privileges, commands), "the role lacks rights")

	var idle []string

	for i, p := range privileges {
		for j, action := range p.Actions {
			less := slices.Clone(privileges)
			less[i].Actions = slices.Delete(slices.Clone(p.Actions), j, j+1)

			name := p.where() + " " + action
			if !slices.Contains(spare, name) && len(Uncovered(less, commands)) == 0 {
				idle = append(idle, name)
			}
		}
	}

	require.Empty(tb, idle, "nothing needs these rights")
}

// where is the resource in short: "cluster", "*.*", "atlas_relay.*".
func (p Privilege) where() string {
	if p.Resource.Cluster {
		return "cluster"
	}

	star := func(name string) string {
		if name == "" {
			return "*"
		}

		return name
	}

	return fmt.Sprintf("%s.%s", star(*p.Resource.DB), star(*p.Resource.Coll))
}
