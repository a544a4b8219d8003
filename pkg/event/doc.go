// Package event is the change event as all services see it: what it says, which
// partition carries it, and how it travels as NATS messages.
//
//	MongoDB field            here                     message
//	_id (resume token)       Message.ResumeToken      Relay-Resume-Token
//	operationType            Event.Operation          -
//	ns                       Event.Namespace          subject tokens 4 and 5
//	documentKey._id          Event.ID, Key            subject token 3 (partition)
//	to                       Event.To                 -
//	collectionUUID           Event.Collection         -
//	clusterTime              Event.ClusterTime        Relay-Position
//	splitEvent               Event.Fragment           -
//	lsid, txnNumber          Event.Transaction        -
//	(the whole event)        Event.Raw                payload, byte for byte
//
// A message is the event's raw BSON, untouched, because every other encoding
// changes types; what a reader has to know beside it stands in headers. A schema
// change that the target repeats has a message in every partition (KindBarrier):
// copies that name it, and the event itself in partition 0. The
// subject scheme and its escaping live in subject.go, the wire form in codec.go,
// and the golden files under testdata are the contract between versions.
package event
