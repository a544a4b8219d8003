// Role of relayctl verify, on the source and on the target: it reads everything, and never writes. On Atlas: the built-in
// readAnyDatabase. config.version holds the id of a sharded cluster, by which the flow's source is known; without
// listIndexes documents are compared, and indexes are not.
//   mongosh "$URI" deploy/mongodb/verify-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayVerify"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayVerify",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "listCollections", "listIndexes"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]},
    {"resource": {"db": "config", "collection": "version"}, "actions": ["find"]}
  ],
  "roles": []
});
