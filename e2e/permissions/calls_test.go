package permissions

import "strings"

// call is something that a client may ask of the server.
type call struct {
	subject   string
	subscribe bool
	roles     string // initials of those who may: listener, janitor, processor, stats, operator; empty: nobody
}

// flow and other are two flows of one account; the server's configuration is for the first.
const (
	flow  = "orders"
	other = "invoices"
)

// calls is the table. What is listed for the flow is forbidden to all for the other one, and the verbs of the JetStream API
// that stand nowhere are forbidden to all.
func calls() []call {
	return append(append(streams(), consumers()...), subjects()...)
}

// streams are the calls that concern a stream as a whole, verb by verb.
func streams() []call {
	may := map[string]map[string]string{
		"CDC_" + flow:     {"CREATE": "o", "UPDATE": "o", "INFO": "ljpso", "DELETE": "o", "PURGE": "j", "MSG.GET": "ljpso"},
		"KV_RELAY_OWNERS": {"CREATE": "o", "UPDATE": "o", "INFO": "lpo"},
		"KV_RELAY_STATS":  {"CREATE": "o", "UPDATE": "o", "INFO": "ljpso"},
		"CDC_" + other:    {},
	}
	verbs := []string{
		"CREATE", "UPDATE", "INFO", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE",
	}

	var all []call

	for _, stream := range []string{"CDC_" + flow, "KV_RELAY_OWNERS", "KV_RELAY_STATS", "CDC_" + other} {
		for _, verb := range verbs {
			all = append(all, call{subject: "$JS.API.STREAM." + verb + "." + stream, roles: may[stream][verb]})
		}
	}

	for _, subject := range []string{
		"$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
		"$JS.API.ACCOUNT.PURGE.RELAY", "$JS.API.ACCOUNT.STREAM.MOVE.RELAY.CDC_" + flow,
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO",
	} {
		all = append(all, call{subject: subject})
	}

	return append(all, call{subject: "$JS.API.INFO", roles: "o"})
}

// consumers are the calls that concern consumers, their deliveries and acks.
func consumers() []call {
	all := []call{
		{subject: "$JS.API.CONSUMER.CREATE.CDC_" + flow + ".p03_7.cdc." + flow + ".03.>", roles: "p"},
		{subject: "$JS.API.CONSUMER.NAMES.CDC_" + flow, roles: "p"},
		{subject: "$JS.API.CONSUMER.INFO.CDC_" + flow + ".p03_7", roles: "p"},
		{subject: "$JS.API.CONSUMER.DELETE.CDC_" + flow + ".p03_7", roles: "p"},
		{subject: "$JS.API.CONSUMER.MSG.NEXT.CDC_" + flow + ".p03_7", roles: "p"},
		{subject: "$JS.ACK.CDC_" + flow + ".p03_7.1.1.1.1.0", roles: "p"},
		{subject: "$JS.ACK._.hash.CDC_" + flow + ".p03_7.1.1.1.1.0", roles: "p"},

		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_STATS.c.$KV.RELAY_STATS.p." + flow + ".*", roles: "ljso"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_STATS.c.$KV.RELAY_STATS.p." + flow + ".>", roles: "ljso"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_STATS.c.$KV.RELAY_STATS.l." + flow + ".>", roles: "so"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_STATS.c.$KV.RELAY_STATS.>", roles: "s"},
		{subject: "$JS.API.CONSUMER.DELETE.KV_RELAY_STATS.c", roles: "ljso"},
		{subject: "$JS.FC.KV_RELAY_STATS.c.1", roles: "ljso"},
		{subject: "$JS.FC._.hash.KV_RELAY_STATS.c.1", roles: "ljso"},

		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.*." + flow + ".>", roles: "p"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.p." + flow + ".>", roles: "po"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.m." + flow + ".>", roles: "po"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.l." + flow, roles: "o"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.>"},
		{subject: "$JS.API.CONSUMER.CREATE.KV_RELAY_OWNERS.c.$KV.RELAY_OWNERS.*.*.>"},
		{subject: "$JS.API.CONSUMER.CREATE.CDC_" + flow + ".p03_7.>"},
		{subject: "$JS.API.CONSUMER.DELETE.KV_RELAY_OWNERS.c", roles: "po"},
		{subject: "$JS.FC.KV_RELAY_OWNERS.c.1", roles: "po"},
		{subject: "$JS.FC._.hash.KV_RELAY_OWNERS.c.1", roles: "po"},
	}

	for _, stream := range []string{"CDC_" + flow, "CDC_" + other, "KV_RELAY_OWNERS", "KV_RELAY_STATS"} {
		for _, form := range []string{"CREATE.%", "CREATE.%.c", "DURABLE.CREATE.%.c", "LIST.%", "PAUSE.%.c", "UNPIN.%.c", "RESET.%.c", "LEADER.STEPDOWN.%.c"} {
			all = append(all, call{subject: "$JS.API.CONSUMER." + strings.ReplaceAll(form, "%", stream)})
		}
	}

	for _, form := range []string{
		"$JS.API.CONSUMER.CREATE.%.c.cdc." + other + ".03.>", "$JS.API.CONSUMER.NAMES.%", "$JS.API.CONSUMER.INFO.%.c",
		"$JS.API.CONSUMER.DELETE.%.c", "$JS.API.CONSUMER.MSG.NEXT.%.c", "$JS.ACK.%.c.1.1.1.1.0", "$JS.API.DIRECT.GET.%",
	} {
		all = append(all, call{subject: strings.ReplaceAll(form, "%", "CDC_"+other)})
	}

	return append(all,
		call{subject: "$JS.API.DIRECT.GET.CDC_" + flow},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS"},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS.$KV.RELAY_OWNERS.l." + flow, roles: "l"},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS.$KV.RELAY_OWNERS.p." + flow + ".03", roles: "p"},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS.$KV.RELAY_OWNERS.m." + flow + ".9f3c", roles: "p"},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS.$KV.RELAY_OWNERS.l." + other},
		call{subject: "$JS.API.DIRECT.GET.KV_RELAY_OWNERS.$KV.RELAY_OWNERS.p." + other + ".03"},
	)
}

// subjects are what the relay itself publishes and subscribes to.
func subjects() []call {
	all := []call{
		{subject: "cdc." + flow + ".03.shop.orders", roles: "l"},
		{subject: "cdc." + flow + ".m", roles: "lo"},
		{subject: "relay." + flow + ".refetch", roles: "p"},
		{subject: "$KV.RELAY_OWNERS.l." + flow, roles: "lo"},
		{subject: "$KV.RELAY_OWNERS.p." + flow + ".03", roles: "po"},
		{subject: "$KV.RELAY_OWNERS.m." + flow + ".9f3c", roles: "po"},
		{subject: "$KV.RELAY_STATS.l." + flow + ".9f3c", roles: "lo"},
		{subject: "$KV.RELAY_STATS.p." + flow + ".9f3c", roles: "po"},

		{subject: "cdc." + other + ".03.shop.orders"},
		{subject: "cdc." + other + ".m"},
		{subject: "relay." + other + ".refetch"},
		{subject: "$KV.RELAY_OWNERS.l." + other},
		{subject: "$KV.RELAY_OWNERS.p." + other + ".03"},
		{subject: "$KV.RELAY_OWNERS.m." + other + ".9f3c"},
		{subject: "$KV.RELAY_STATS.l." + other + ".9f3c"},
		{subject: "$KV.RELAY_STATS.p." + other + ".9f3c"},
		{subject: "anything.else"},

		{subject: "relay." + flow + ".refetch", subscribe: true, roles: "l"},
		{subject: "relay." + other + ".refetch", subscribe: true},
		{subject: "cdc." + flow + ".>", subscribe: true},
		{subject: "$KV.>", subscribe: true},
		{subject: "$JS.>", subscribe: true},
		{subject: "$JS.EVENT.ADVISORY.>", subscribe: true},
		{subject: "$SYS.>", subscribe: true},
		{subject: ">", subscribe: true},
		{subject: "*.*", subscribe: true},
	}

	for inbox, role := range map[string]string{"_INBOX_l_": "l", "_INBOX_j_": "j", "_INBOX_p_": "p", "_INBOX_c_": "o"} {
		publishers := ""
		if role == "p" {
			publishers = "l"
		}

		all = append(all,
			call{subject: inbox + flow + ".>", subscribe: true, roles: role},
			call{subject: inbox + other + ".>", subscribe: true},
			call{subject: inbox + flow + ".a", roles: publishers},
			call{subject: inbox + other + ".a"},
		)
	}

	return append(all,
		call{subject: "_INBOX_s.>", subscribe: true, roles: "s"},
		call{subject: "_INBOX_s.a"},
		call{subject: "_INBOX.>", subscribe: true},
		call{subject: "_INBOX.a"},
		call{subject: "_INBOX_*.>", subscribe: true},
	)
}
