package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

const (
	// mostSuspects wait at a time; whoever finds more waits too.
	mostSuspects = 1000
	// settleEvery is how often the flow's progress is looked at.
	settleEvery = 500 * time.Millisecond
)

// settler looks at suspects again until it is known what they are. One goroutine runs it.
type settler struct {
	config   *Config
	book     *book
	rechecks Rechecks
	progress progressReader
	in       chan *Suspect // closed when no more come
}

// run ends when in is closed and no suspect is left, with ctx, or when there are enough differences.
func (s *settler) run(ctx context.Context) error {
	session, err := s.config.Source.StartSession(options.Session().SetCausalConsistency(true))
	if err != nil {
		return ofSource(fmt.Errorf("start a session: %w", err))
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	for {
		more, err := s.take(ctx)
		if err != nil || !more {
			return err
		}

		err = retry.Do(ctx, patience(), func(ctx context.Context) error {
			return lasting(s.settle(ctx, session))
		})
		if err != nil {
			return err
		}
	}
}

// take waits for suspects: at once when none is known, else for a while. more is false when all is done.
func (s *settler) take(ctx context.Context) (more bool, err error) {
	in := s.in
	if s.rechecks.Len() >= mostSuspects {
		in = nil
	}

	var timeout <-chan time.Time
	if s.rechecks.Len() > 0 {
		timer := time.NewTimer(settleEvery)
		defer timer.Stop()

		timeout = timer.C
	}

	for {
		select {
		case suspect, open := <-in:
			switch {
			case open:
				s.rechecks.Add(suspect, time.Now())

				if s.rechecks.Len() < mostSuspects && timeout != nil {
					continue // until the time is up: they are read together
				}
			case s.rechecks.Len() == 0:
				return false, nil
			default:
				in = nil

				continue
			}

			return true, nil
		case <-timeout:
			return true, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// settle is one look at all of them.
func (s *settler) settle(ctx context.Context, session *mongo.Session) error {
	if err := s.base(ctx, session); err != nil {
		return err
	}

	progress, err := s.progress.read(ctx, *session.OperationTime())
	if err != nil {
		return err
	}

	for _, suspect := range s.rechecks.Due(&progress) {
		if err := s.judge(ctx, session, suspect); err != nil {
			return err
		}
	}

	for _, suspect := range s.rechecks.Unsettled(time.Now()) {
		if err := s.book.found(suspect, Difference{Cause: Unknown}); err != nil {
			return err
		}
	}

	return nil
}

// base reads what the source has of new suspects.
func (s *settler) base(ctx context.Context, session *mongo.Session) error {
	for _, suspect := range s.rechecks.Fresh() {
		image, at, err := s.ofSource(ctx, session, suspect)
		if err != nil {
			return err
		}

		s.rechecks.Based(suspect, image.digest, at)
	}

	return nil
}

func (s *settler) judge(ctx context.Context, session *mongo.Session, suspect *Suspect) error {
	target, err := read(ctx, s.config.Target, suspect)
	if err != nil {
		return ofTarget(fmt.Errorf("read a document of %s: %w", suspect.Namespace, err))
	}

	source, at, err := s.ofSource(ctx, session, suspect)
	if err != nil {
		return err
	}

	switch s.rechecks.Judge(suspect, target.digest, source.digest, at) {
	case Same:
		s.book.cleared(suspect)

		return nil
	case Differs:
		d, err := s.explain(ctx, suspect, source, target)
		if err != nil {
			return err
		}

		return s.book.found(suspect, d)
	default:
		return nil
	}
}

// ofSource reads the source's document, and a time of the source that is not before it.
func (s *settler) ofSource(ctx context.Context, session *mongo.Session, suspect *Suspect) (portrait, bson.Timestamp, error) {
	image, err := read(mongo.NewSessionContext(ctx, session), s.config.Source, suspect)
	if err != nil {
		return portrait{}, bson.Timestamp{}, ofSource(fmt.Errorf("read a document of %s: %w", suspect.Namespace, err))
	}

	at := session.OperationTime()
	if at == nil {
		return portrait{}, bson.Timestamp{}, ofSource(errNoTime)
	}

	return image, *at, nil
}

// read reads from the primary, whatever the URI prefers: a secondary may show a document as it was before.
func read(ctx context.Context, client *mongo.Client, suspect *Suspect) (portrait, error) {
	coll := client.Database(suspect.Namespace.DB).Collection(suspect.Namespace.Coll,
		options.Collection().SetReadPreference(readpref.Primary()).SetReadConcern(readconcern.Majority()))

	// Without $eq an _id that is a document with a $ name would be read as operators.
	raw, err := coll.FindOne(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: suspect.ID}}}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return portrait{}, nil
	}

	if err != nil {
		return portrait{}, err
	}

	return portray(raw), nil
}

// explain describes a difference, and looks for what the flow knows of it.
func (s *settler) explain(ctx context.Context, suspect *Suspect, source, target portrait) (Difference, error) {
	kind, place := differ(source, target)
	d := Difference{Kind: kind, Field: place.Path(), Cause: Unexplained}

	if s.config.ShowValues {
		if !source.outline {
			d.Source = place.ValueAt(source.likeness)
		}

		if !target.outline {
			d.Target = place.ValueAt(target.likeness)
		}
	}

	letter, err := findLetter(ctx, s.config.Target, s.config.Flow, suspect.Partition, suspect.Key)
	if err != nil {
		return d, ofTarget(err)
	}

	if letter != nil {
		d.Cause, d.Letter = letter.cause(), letter.ID
	}

	return d, nil
}
