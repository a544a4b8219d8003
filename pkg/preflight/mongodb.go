package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// selectionTimeout leaves room to say why within checkTimeout.
const selectionTimeout = 4 * time.Second

// maxSkew is the clock difference that is told: lag is our clock less theirs.
const maxSkew = time.Second

// unauthorized is the code of a command that the user's rights do not cover.
const unauthorized = 13

// connect reaches a deployment and learns who it is.
func (d *deployment) connect(ctx context.Context) []Finding {
	if d.uri.IsZero() {
		return one(refused(fail(d.variable, "%s is not set", d.variable)).remedy("set it, for example mongodb+srv://user:password@cluster.example.net"))
	}

	client, err := mongodb.Connect(d.uri, mongodb.Options{
		AppName: "atlas-relay preflight", ServerSelectionTimeout: selectionTimeout, Monitor: d.monitor,
	})
	if err != nil {
		return one(d.trouble(err))
	}

	d.client = client

	return d.ask(ctx)
}

// ask says hello with a client that is there.
func (d *deployment) ask(ctx context.Context) []Finding {
	var err error
	if d.hello, err = mongodb.SayHello(ctx, d.client); err != nil {
		return one(d.trouble(err))
	}

	before := time.Now()

	var reply helloReply
	if err := d.client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&reply); err != nil {
		return one(d.trouble(err))
	}

	d.process = reply.process()

	// The server read its clock at some moment of the round trip.
	if !reply.LocalTime.IsZero() {
		d.skew, d.skewed = skewOf(reply.LocalTime, before, time.Now()), true
	}

	return nil
}

// helloReply is what mongodb.Hello leaves out.
type helloReply struct {
	SetName         string    `bson:"setName"`
	Hosts           []string  `bson:"hosts"`
	LocalTime       time.Time `bson:"localTime"`
	TopologyVersion struct {
		ProcessID bson.ObjectID `bson:"processId"`
	} `bson:"topologyVersion"`
}

// process tells one server process, and one replica set, from others.
type process struct {
	id    bson.ObjectID
	set   string
	hosts []string
}

func (r helloReply) process() process {
	return process{id: r.TopologyVersion.ProcessID, set: r.SetName, hosts: r.Hosts}
}

// sameDeployment tells whether two answers come from one deployment; why is
// empty when they do not, as far as can be told. Two mongos of one cluster are
// told apart from nothing: neither names its cluster.
func sameDeployment(a, b process) (why string) {
	switch {
	case !a.id.IsZero() && a.id == b.id:
		return "both answers come from the same process"
	case a.set != "" && a.set == b.set && shareHost(a.hosts, b.hosts):
		return "both are members of replica set " + a.set + " with the same hosts"
	default:
		return ""
	}
}

// shareHost ignores names that mean another host in each container.
func shareHost(a, b []string) bool {
	return slices.ContainsFunc(a, func(host string) bool {
		return !strings.HasPrefix(host, "localhost:") && !strings.HasPrefix(host, "127.") && slices.Contains(b, host)
	})
}

// skewOf is the least difference that the round trip allows.
func skewOf(theirs, before, after time.Time) time.Duration {
	switch {
	case theirs.Before(before):
		return theirs.Sub(before)
	case theirs.After(after):
		return theirs.Sub(after)
	default:
		return 0
	}
}

// trouble says what an error of the deployment means.
func (d *deployment) trouble(err error) Finding {
	f := fail(d.where(), "%s", reason(err)).remedy(mongodb.Explain(err))

	switch {
	case slices.Contains(mongo.ErrorCodes(err), unauthorized):
		return refused(f.remedy("")) // the check knows which right it is
	case errors.Is(err, mongodb.ErrInvalidURI), mongodb.IsUnauthorized(err):
		return refused(f)
	case errors.Is(err, context.DeadlineExceeded), mongodb.IsTransient(err), mongo.IsTimeout(err):
		f.What = "no answer: " + reason(err)

		return unreachable(f)
	default:
		return f
	}
}

// clock compares clocks.
func (d *deployment) clock() []Finding {
	switch {
	case !d.skewed:
		return one(unknown(d.where(), "hello tells no localTime"))
	case d.skew.Abs() > maxSkew:
		return one(warn(d.where(), "its clock differs from this host's by %s", d.skew.Round(time.Millisecond)))
	default:
		return nil
	}
}

// version compares with the oldest that works and the oldest that is well kept.
func (d *deployment) version(least string) []Finding {
	v := d.hello.Version

	switch {
	case v == "":
		return one(unknown(d.where(), "buildInfo tells no version"))
	case older(v, least):
		return one(fail(d.where(), "version %s is older than %s", v, least))
	case older(v, freshMongoDB):
		return one(warn(d.where(), "version %s is old: %s or later is advised", v, freshMongoDB))
	default:
		return nil
	}
}

// older compares dotted versions by their numbers; what follows a "-" is left out.
func older(version, than string) bool {
	parse := func(text string) []int {
		text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-")

		var numbers []int

		for part := range strings.SplitSeq(text, ".") {
			n, _ := strconv.Atoi(part)
			numbers = append(numbers, n)
		}

		return numbers
	}

	return slices.Compare(parse(version), parse(than)) < 0
}

// privilege is an entry of connectionStatus with showPrivileges.
type privilege struct {
	Resource bson.D   `bson:"resource"`
	Actions  []string `bson:"actions"`
}

// writes lists the actions that change data or the deployment.
func writes(privileges []privilege) []string {
	changing := []string{
		"insert", "update", "remove", "createCollection", "dropCollection", "dropDatabase", "createIndex", "dropIndex", "collMod",
		"renameCollectionSameDB", "convertToCapped", "bypassDocumentValidation", "appendOplogNote", "anyAction", "restore", "backup",
		"createUser", "createRole", "grantRole", "shutdown", "applyOps",
	}

	var found []string

	for _, p := range privileges {
		if ownCollection(p.Resource) {
			continue
		}

		for _, action := range p.Actions {
			if slices.Contains(changing, action) && !slices.Contains(found, action) {
				found = append(found, action)
			}
		}
	}

	slices.Sort(found)

	return found
}

// ownCollection names what every user may change because the server keeps it
// for them (sessions of config are an example).
func ownCollection(resource bson.D) bool {
	for _, e := range resource {
		if e.Key == "db" {
			db, _ := e.Value.(string)

			return db == "config" || db == "local"
		}
	}

	return false
}

// mayWrite asks which rights the connection has that change something.
func (d *deployment) mayWrite(ctx context.Context) []Finding {
	var status struct {
		AuthInfo struct {
			Users      []bson.D    `bson:"authenticatedUsers"`
			Roles      []roleName  `bson:"authenticatedUserRoles"`
			Privileges []privilege `bson:"authenticatedUserPrivileges"`
		} `bson:"authInfo"`
	}

	command := bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}
	if err := d.client.Database("admin").RunCommand(ctx, command).Decode(&status); err != nil {
		return one(unknown(d.where(), reason(err)))
	}

	info := status.AuthInfo

	switch found := writes(info.Privileges); {
	case len(info.Users) == 0:
		return one(unknown(d.where(), "the connection has no user: everybody may do everything there"))
	case len(found) > 0:
		return one(warn(d.where(), "the user may do more than read: %s", strings.Join(found, ", ")))
	case len(info.Privileges) > 0:
		return nil
	}

	// Some proxies name the roles only.
	for _, r := range info.Roles {
		if r.writes() {
			return one(warn(d.where(), "the user may do more than read: it has the role %s", r.Role))
		}
	}

	return one(unknown(d.where(), "connectionStatus lists no privileges"))
}

type roleName struct {
	Role string `bson:"role"`
}

// writes knows the built-in roles only.
func (r roleName) writes() bool {
	return r.Role == "root" || r.Role == "atlasAdmin" || r.Role == "__system" || r.Role == "dbOwner" || r.Role == "restore" ||
		strings.HasPrefix(r.Role, "readWrite") || strings.HasPrefix(r.Role, "dbAdmin") || strings.HasPrefix(r.Role, "userAdmin")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}

	return fmt.Sprintf("%d %ss", n, noun)
}
