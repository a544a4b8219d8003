package topology

// Inboxes of the roles: what the subjects of replies begin with. The server's permissions (deploy/nats) let each role
// subscribe to its own and to no other's.

// StatsInbox is that of the stats service, which serves several flows.
const StatsInbox = "_INBOX_s"

// ListenerInbox is that of the flow's listeners.
func ListenerInbox(flow string) string { return "_INBOX_l_" + flow }

// JanitorInbox is that of the part of a listener that purges, where it has credentials of its own.
func JanitorInbox(flow string) string { return "_INBOX_j_" + flow }

// ProcessorInbox is that of the flow's processors. The listener may publish to it: answers to refetch requests.
func ProcessorInbox(flow string) string { return "_INBOX_p_" + flow }

// OperatorInbox is that of relayctl.
func OperatorInbox(flow string) string { return "_INBOX_c_" + flow }
