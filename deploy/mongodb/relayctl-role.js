// Role of relayctl flow and doctor on the target (on the source: relaySource). createCollection and createIndex are for
// flow init with DDL=on, which makes what the source has. In the audit it may only add: nobody who has this role changes
// what he did.
//   mongosh "$URI" deploy/mongodb/relayctl-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayctlTarget"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayctlTarget",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["listCollections", "listIndexes", "createCollection", "createIndex"]},
    {"resource": {"db": "atlas_relay", "collection": ""}, "actions": ["find"]},
    {"resource": {"db": "atlas_relay", "collection": "checkpoints"}, "actions": ["insert", "update", "remove"]},
    {"resource": {"db": "atlas_relay", "collection": "gaps"}, "actions": ["insert", "update"]},
    {"resource": {"db": "atlas_relay", "collection": "audit"}, "actions": ["insert"]},
    {"resource": {"db": "atlas_relay", "collection": "unsupported"}, "actions": ["update", "remove"]},
    {"resource": {"db": "atlas_relay", "collection": "barriers"}, "actions": ["remove"]},
    {"resource": {"db": "atlas_relay", "collection": "flows"}, "actions": ["remove"]},
    {"resource": {"db": "atlas_relay", "collection": "parked"}, "actions": ["remove"]},
    {"resource": {"db": "atlas_relay", "collection": "parked_chunks"}, "actions": ["remove"]},
    {"resource": {"db": "atlas_relay", "collection": "refetched"}, "actions": ["remove"]},
    {"resource": {"cluster": true}, "actions": ["listDatabases"]}
  ],
  "roles": []
});
