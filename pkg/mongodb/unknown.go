package mongodb

import (
	"errors"
	"net"

	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"
)

// UnknownHosts are the names of a deployment's hosts when DNS knows none of them; nil when it knows one, or when the error
// does not say. A misspelt address looks like that, and so does a host whose name comes with it. To wait for what never
// comes costs time, to give up on what comes a restart.
func UnknownHosts(err error) []string {
	if name, ok := unknownHost(err); ok { // of a mongodb+srv:// address
		return []string{name}
	}

	selection, ok := errors.AsType[topology.ServerSelectionError](err)
	if !ok {
		return nil
	}

	var names []string

	for i := range selection.Desc.Servers {
		name, ok := unknownHost(selection.Desc.Servers[i].LastError)
		if !ok {
			return nil
		}

		names = append(names, name)
	}

	return names
}

func unknownHost(err error) (name string, ok bool) {
	dns, ok := errors.AsType[*net.DNSError](err)
	if !ok || !dns.IsNotFound {
		return "", false
	}

	return dns.Name, true
}
