// Role of the stats service on the target beside relayStats, for those who want it: it reads every document, so that a dead
// letter is shown beside what the target has. Without it the answer says "unknown" and why; nothing else is missing. For
// some databases only: the privilege once for each of them.
//   mongosh "$URI" deploy/mongodb/stats-documents-role.js
//   db.getSiblingDB("admin").grantRolesToUser("...", ["relayStatsDocuments"])
db.getSiblingDB("admin").runCommand({
  "createRole": "relayStatsDocuments",
  "privileges": [
    {"resource": {"db": "", "collection": ""}, "actions": ["find"]}
  ],
  "roles": []
});
