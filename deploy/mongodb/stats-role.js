// Role of the stats service on the target: it reads the relay's own documents, replays and discards dead letters, and pauses
// and resumes flows.
//   mongosh "$URI" deploy/mongodb/stats-role.js
//   db.getSiblingDB("admin").createUser({user: "...", pwd: passwordPrompt(), roles: ["relayStats"]})
db.getSiblingDB("admin").runCommand({
  "createRole": "relayStats",
  "privileges": [
    {"resource": {"db": "atlas_relay", "collection": ""}, "actions": ["find"]},
    {"resource": {"db": "atlas_relay", "collection": "parked"}, "actions": ["update"]},
    {"resource": {"db": "atlas_relay", "collection": "flows"}, "actions": ["insert", "update"]},
    {"resource": {"db": "atlas_relay", "collection": "audit"}, "actions": ["insert"]}
  ],
  "roles": []
});
