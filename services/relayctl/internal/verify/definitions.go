package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// definitions are in what collections, views and indexes of both sides differ.
type definitions struct {
	found []CatalogDifference
	notes []string
}

// definer compares definitions until it is known which differences are not in flight.
type definer struct {
	config   *Config
	session  *mongo.Session // of the source
	progress progressReader
}

// define compares the definitions of both sides. What differs may be in flight, as documents may: it is a difference when
// it is found again, in each of the rounds, after the flow has passed a time at which the source had it already.
func (v *verification) define(ctx context.Context) error {
	session, err := v.Source.StartSession(options.Session().SetCausalConsistency(true))
	if err != nil {
		return ofSource(fmt.Errorf("start a session: %w", err))
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	d := &definer{config: v.Config, session: session, progress: progressReader{flow: v.Flow, stream: v.Stream, target: v.Target}}

	settled, err := d.settle(ctx)
	if err == nil {
		v.book.define(settled)
	}

	return err
}

func (d *definer) settle(ctx context.Context) (definitions, error) {
	began := time.Now()

	now, at, err := d.compare(ctx)
	found := now.found

	for round := 0; err == nil && round < d.config.Rounds && slices.ContainsFunc(found, CatalogDifference.isOpen); round++ {
		var passed bool
		if passed, err = d.await(ctx, at, began.Add(d.config.Patience)); err != nil || !passed {
			break
		}

		last := round == d.config.Rounds-1

		now, at, err = d.compare(ctx)
		found = again(found, now.found, last)
	}

	return definitions{found: found, notes: now.notes}, err
}

// again keeps what was found both times; final tells that it is in flight no longer.
func again(before, now []CatalogDifference, final bool) []CatalogDifference {
	var found []CatalogDifference

	for _, difference := range before {
		if slices.Contains(now, difference) {
			if final {
				difference.Cause = Unexplained
			}

			found = append(found, difference)
		}
	}

	return found
}

// await waits until the flow has passed a time of the source, but not beyond the deadline.
func (d *definer) await(ctx context.Context, at bson.Timestamp, deadline time.Time) (passed bool, err error) {
	for {
		var progress Progress

		err := retry.Do(ctx, patience(), func(ctx context.Context) (err error) {
			progress, err = d.progress.read(ctx, *d.session.OperationTime())

			return lasting(err)
		})
		if err != nil {
			return false, err
		}

		if progress.passedAll(at) {
			return true, nil
		}

		if time.Now().After(deadline) {
			return false, nil
		}

		if !retry.Pause(ctx, settleEvery) {
			return false, context.Cause(ctx)
		}
	}
}

// compare reads the target, then the source. at is a time of the source that is not before that.
func (d *definer) compare(ctx context.Context) (now definitions, at bson.Timestamp, err error) {
	err = retry.Do(ctx, patience(), func(ctx context.Context) (err error) {
		now, err = compareDefinitions(ctx, d.config, d.session)

		return lasting(err)
	})
	if err != nil {
		return definitions{}, bson.Timestamp{}, err
	}

	if d.session.OperationTime() == nil {
		return definitions{}, bson.Timestamp{}, ofSource(errNoTime)
	}

	return now, *d.session.OperationTime(), nil
}

func compareDefinitions(ctx context.Context, c *Config, session *mongo.Session) (definitions, error) {
	var notes []string

	target, refused, err := readDefinitions(ctx, c, c.Target)
	if err != nil {
		return definitions{}, ofTarget(err)
	}

	source, alsoRefused, err := readDefinitions(mongo.NewSessionContext(ctx, session), c, c.Source)
	if err != nil {
		return definitions{}, ofSource(err)
	}

	for _, ns := range slices.Compact(slices.Sorted(slices.Values(append(refused, alsoRefused...)))) {
		notes = append(notes, ns+": indexes are not compared: the user lacks listIndexes (deploy/mongodb/verify-role.js)")

		for _, side := range [][]catalog.Collection{source, target} {
			for i := range side {
				if side[i].Namespace().String() == ns {
					side[i].Indexes = nil
				}
			}
		}
	}

	d := definitions{notes: notes}

	for _, difference := range catalog.Compare(source, target) {
		d.found = append(d.found, told(difference)...)
	}

	d.judgeExpiries(catalog.Expiries(source, target))
	d.promise(c)

	return d, nil
}

// readDefinitions returns what is in scope of what flows carry, and the namespaces whose indexes may not be read.
func readDefinitions(ctx context.Context, c *Config, client *mongo.Client) (read []catalog.Collection, refused []string, err error) {
	all, err := mongodb.Catalog(ctx, client)
	if err != nil {
		return nil, nil, err
	}

	for i := range all {
		read = append(read, catalog.Collection{Collection: all[i]})
	}

	read = slices.DeleteFunc(read, func(of catalog.Collection) bool { return !c.takes(of.Namespace()) || !catalog.IsCarried(of.Collection) })

	for i := range read {
		if c.WithoutIndexes {
			break
		}

		read[i].Indexes, err = catalog.Indexes(ctx, client, read[i].Namespace())
		if mongodb.IsUnauthorized(err) {
			refused = append(refused, read[i].Namespace().String())
		} else if err != nil {
			return nil, nil, err
		}
	}

	return read, refused, nil
}

// told is a difference as it is reported: of an index that both sides have, each option by itself.
func told(of catalog.Difference) []CatalogDifference {
	d := CatalogDifference{
		Namespace: of.Namespace.String(), What: of.Kind(), Name: of.Name(), Cause: Unknown, Source: of.Source, Target: of.Target,
	}

	if of.IsOption() && d.Name == whatType {
		d.What, d.Name = whatType, ""
	}

	switch {
	case of.Target == "":
		d.Kind = Missing
	case of.Source == "":
		d.Kind = Extra
	default:
		d.Kind = Different
	}

	if len(of.Options) == 0 {
		return []CatalogDifference{d}
	}

	fields := make([]CatalogDifference, len(of.Options))
	for i, option := range of.Options {
		fields[i] = d
		fields[i].Field, fields[i].Source, fields[i].Target = option.Name, option.Source, option.Target
	}

	return fields
}

// judgeExpiries: a TTL that the relay keeps from deleting is none to be told from the source's, and both are shown.
func (d *definitions) judgeExpiries(expiries []catalog.Expiry) {
	for _, e := range expiries {
		what, name := "index", e.Index
		if name == "" {
			what, name = "option", "expireAfterSeconds"
		}

		switch label := fmt.Sprintf("%s: %s %s", e.Namespace, what, name); {
		case e.Dormant && e.Source != e.Target:
			d.notes = append(d.notes, fmt.Sprintf("%s: documents expire after %d s on the source; on the target %d s are set, so that only the source's deletes delete",
				label, e.Source, e.Target))
		case e.Source == e.Target && !e.Dormant:
			d.notes = append(d.notes, fmt.Sprintf("%s: documents expire after %d s on both sides: the target deletes by itself, beside the source's deletes",
				label, e.Source))
		case e.Source != e.Target:
			different := CatalogDifference{
				Namespace: e.Namespace.String(), What: what, Name: name, Kind: Different, Cause: Unknown,
				Source: strconv.FormatInt(e.Source, 10), Target: strconv.FormatInt(e.Target, 10),
			}
			if e.Index != "" {
				different.Field = "expireAfterSeconds"
			}

			d.found = append(d.found, different)
		}
	}

	slices.SortStableFunc(d.found, func(a, b CatalogDifference) int { return strings.Compare(a.Namespace, b.Namespace) })
}

// mostUnpromised are named in a note.
const mostUnpromised = 10

// promise leaves only what the flow keeps equal: without replication of schema changes nothing but that a collection is
// one on both sides.
func (d *definitions) promise(c *Config) {
	if c.WithoutIndexes {
		d.notes = append(d.notes, "indexes are not compared: the flow leaves the target's alone (INDEXES=none)")
	}

	if c.Stream.DDL {
		return
	}

	var names []string

	d.found = slices.DeleteFunc(d.found, func(of CatalogDifference) bool {
		if of.What != whatType {
			names = append(names, of.String())
		}

		return of.What != whatType
	})

	if len(names) == 0 {
		return
	}

	note := "the flow does not replicate schema changes (DDL=off), so these are no differences of it: " + strings.Join(names[:min(len(names), mostUnpromised)], "; ")
	if more := len(names) - mostUnpromised; more > 0 {
		note += fmt.Sprintf("; and %d more", more)
	}

	d.notes = append(d.notes, note)
}
