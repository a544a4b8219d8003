package mongotest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

const roles = "../../deploy/mongodb"

// TestRoleFiles: what is shown to operators is what the tests of the services give their users.
func TestRoleFiles(t *testing.T) {
	t.Parallel()

	files, err := filepath.Glob(filepath.Join(roles, "*.js"))
	require.NoError(t, err)

	names := map[string]string{
		"source-role.js": "relaySource", "target-role.js": "relayTarget", "stats-role.js": "relayStats", "relayctl-role.js": "relayctlTarget",
		"verify-role.js": "relayVerify", "stats-documents-role.js": "relayStatsDocuments",
	}
	require.Len(t, files, len(names))

	reads := []string{"find", "changeStream", "listCollections", "listDatabases", "listIndexes", "collStats"}
	reading := []string{"source-role.js", "verify-role.js", "stats-documents-role.js"}

	for _, path := range files {
		name := filepath.Base(path)
		role := mongotest.Role(t, path)
		require.Equal(t, bson.E{Key: "createRole", Value: names[name]}, role[0], name)

		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), `mongosh "$URI" deploy/mongodb/`+name)
		require.Contains(t, string(text), `["`+names[name]+`"]`)

		for _, p := range mongotest.Privileges(t, role) {
			require.NotEmpty(t, p.Actions, name)

			for _, action := range p.Actions {
				require.Falsef(t, slices.Contains(reading, name) && !slices.Contains(reads, action), "%s in %s writes", action, name)
				require.NotContains(t, []string{"anyAction", "dropDatabase", "shutdown"}, action, name)
				require.False(t, action == "dropCollection" && name != "target-role.js", name)
			}
		}
	}
}

func TestNeedsAndPrivileges(t *testing.T) {
	t.Parallel()

	privileges := func(text string) []mongotest.Privilege {
		var role bson.D
		require.NoError(t, bson.UnmarshalExtJSON([]byte(`{"createRole": "x", "privileges": [`+text+`]}`), true, &role))

		return mongotest.Privileges(t, role)
	}
	everywhere := `{"resource": {"db": "", "collection": ""}, "actions": ["find", "insert", "update", "changeStream", "listCollections"]}`

	for name, test := range map[string]struct {
		db, command string
		role        string
		missing     string // action; empty: none
	}{
		"find":                      {"shop", `{"find": "orders"}`, everywhere, ""},
		"find in the oplog":         {"local", `{"find": "oplog.rs"}`, everywhere, "find"},
		"find in config":            {"config", `{"find": "version"}`, everywhere, "find"},
		"find in system":            {"shop", `{"find": "system.js"}`, everywhere, "find"},
		"exactly there":             {"local", `{"find": "oplog.rs"}`, `{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}`, ""},
		"beside it":                 {"local", `{"find": "x"}`, `{"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find"]}`, "find"},
		"upsert":                    {"shop", `{"update": "c", "updates": [{"upsert": true}]}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["update"]}`, "insert"},
		"update":                    {"shop", `{"update": "c", "updates": [{}]}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["update"]}`, ""},
		"bypass":                    {"shop", `{"insert": "c", "bypassDocumentValidation": true}`, everywhere, "bypassDocumentValidation"},
		"bulk":                      {"admin", `{"bulkWrite": 1, "ops": [{"delete": 0}], "nsInfo": [{"ns": "shop.c"}]}`, everywhere, "remove"},
		"create with insert":        {"shop", `{"create": "c"}`, everywhere, ""},
		"create without":            {"shop", `{"create": "c"}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["find"]}`, "createCollection"},
		"change stream of all":      {"admin", `{"aggregate": 1, "pipeline": [{"$changeStream": {"allChangesForCluster": true}}]}`, everywhere, ""},
		"change stream of one part": {"admin", `{"aggregate": 1, "pipeline": [{"$changeStream": {"allChangesForCluster": true}}]}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["find", "changeStream"]}`, "find"},
		"stage that writes":         {"shop", `{"aggregate": "c", "pipeline": [{"$out": "d"}]}`, everywhere, "?$out"},
		"of the cluster":            {"admin", `{"listDatabases": 1}`, `{"resource": {"cluster": true}, "actions": ["listDatabases"]}`, ""},
		"not of a database":         {"admin", `{"listDatabases": 1}`, `{"resource": {"db": "", "collection": ""}, "actions": ["listDatabases"]}`, "listDatabases"},
		"unknown command":           {"shop", `{"compact": "c"}`, everywhere, "?compact"},
		"drop":                      {"shop", `{"drop": "c"}`, everywhere, "dropCollection"},
		"rename":                    {"admin", `{"renameCollection": "shop.a", "to": "shop.b"}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["renameCollectionSameDB"]}`, ""},
		"rename that replaces":      {"admin", `{"renameCollection": "shop.a", "to": "shop.b", "dropTarget": true}`, `{"resource": {"db": "shop", "collection": ""}, "actions": ["renameCollectionSameDB"]}`, "dropCollection"},
		"rename elsewhere":          {"admin", `{"renameCollection": "shop.a", "to": "shelf.a"}`, everywhere, "dropCollection"},
		"free":                      {"admin", `{"killSessions": []}`, everywhere, ""},
	} {
		var body bson.D
		require.NoError(t, bson.UnmarshalExtJSON([]byte(test.command), false, &body), name)

		raw, err := bson.Marshal(body)
		require.NoError(t, err)

		command := mongotest.Command{Name: body[0].Key, DB: test.db, Body: raw}

		var missing string
		for _, need := range mongotest.Uncovered(privileges(test.role), []mongotest.Command{command}) {
			missing = strings.TrimPrefix(missing+","+need.Action, ",")
			missing, _, _ = strings.Cut(missing, ",") // the first one
		}

		require.Equal(t, test.missing, missing, name)
	}
}
