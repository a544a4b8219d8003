// Role of the processor on the target: data, and its own checkpoints. Leave bypassDocumentValidation out with BYPASS_VALIDATION=false.
// With DDL=off the second privilege shrinks to createIndex on the database atlas_relay.
// For some databases only: both privileges once for each of them, and once for atlas_relay.
//   mongosh "$URI" deploy/mongodb/target-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayTarget"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayTarget",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "insert", "update", "remove", "bypassDocumentValidation"]},
    {"resource": {"db": "", "collection": ""}, "actions": ["listCollections", "listIndexes", "createIndex", "dropIndex", "dropCollection", "collMod", "renameCollectionSameDB"]}
  ],
  "roles": []
});
