// Role of the listener on the source: it reads, and never writes. On Atlas: the built-in readAnyDatabase.
//   mongosh "$URI" deploy/mongodb/source-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relaySource"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relaySource",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "changeStream", "listCollections"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]},
    {"resource": {"db": "local", "collection": "oplog.rs"}, "actions": ["find", "collStats"]}
  ],
  "roles": []
});
