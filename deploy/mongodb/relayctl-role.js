// Role of relayctl flow and doctor on the target (on the source: relaySource). createCollection and createIndex are for
// flow init with DDL=on, which makes what the source has.
//   mongosh "$URI" deploy/mongodb/relayctl-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayctlTarget"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayctlTarget",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["listCollections", "listIndexes", "createCollection", "createIndex"]},
    {"resource": {"db": "atlas_relay", "collection": ""}, "actions": ["find", "insert", "update", "remove"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]}
  ],
  "roles": []
});
