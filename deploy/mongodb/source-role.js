// Role of the listener, and of relayctl flow and doctor, on the source: it reads, and never writes. On Atlas: the built-in
// readAnyDatabase. config.version holds the id of a sharded cluster, the oplog how far back changes can be read; without
// either right the flow runs, and the one cannot be told from another, or the window is unknown.
//   mongosh "$URI" deploy/mongodb/source-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relaySource"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relaySource",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "changeStream", "listCollections", "listIndexes"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]},
    {"resource": {"db": "config", "collection": "version"}, "actions": ["find"]},
    {"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find", "collStats"]}
  ],
  "roles": []
});
