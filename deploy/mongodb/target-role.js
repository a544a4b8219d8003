// Role of the processor on the target: data, schema changes, and its own checkpoints. Leave bypassDocumentValidation out with BYPASS_VALIDATION=false.
// Where the flow was made with DDL=off, createIndex is needed for atlas_relay only, and everything behind it not at all.
// For some databases only: the privilege once for each of them, and once for atlas_relay.
//   mongosh "$URI" deploy/mongodb/target-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayTarget"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayTarget",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find", "insert", "update", "remove", "bypassDocumentValidation", "createIndex",
      "listCollections", "listIndexes", "dropCollection", "dropIndex", "collMod", "renameCollectionSameDB"]}
  ],
  "roles": []
});
