// Role of the processor on the target: data, and its own checkpoints. Leave bypassDocumentValidation out with BYPASS_VALIDATION=false.
//   mongosh "$URI" deploy/mongodb/target-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayTarget"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayTarget",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "insert", "update", "remove", "bypassDocumentValidation", "listCollections"]},
    {"resource": {"db": "atlas_relay", "collection": ""}, "actions": ["find", "insert", "update", "remove", "createCollection", "createIndex", "listIndexes"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]}
  ],
  "roles": []
});
