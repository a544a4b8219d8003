package mongotest

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Features says where a server behaves as mongod does. The product is written for mongod; a test whose expectation
// differs on a stand-in asks here. On mongod all are true.
type Features struct {
	SplitsLargeEvents    bool // $changeStreamSplitLargeEvent cuts an event above 16 MB; else its splitEvent is always 1 of 1
	BoundsReplies        bool // a change stream's reply ends at 16 MiB; else it may exceed the 48 MB of a message, which no driver reads
	IdenticalReplaceNoop bool // replacing a document by itself makes no event, also when the replacement leaves out _id
	RetryableWrites      bool // a write that is sent twice with one txnNumber happens once; else use retryWrites=false in crash tests
	SingleTxnClusterTime bool // all events of a transaction carry one clusterTime
	KeepsEmptyTimestamp  bool // bypassEmptyTsReplacement is honoured
	KeepsDeprecatedTypes bool // Symbol, DBPointer, CodeWithScope … come back as they were written
	DatesBeyondYear9999  bool
	CreateEvents         bool // an implicit creation makes a create event
	IndexOptionsInEvents bool // createIndexes events carry the index's options
	ModifyEventsTellAll  bool // the event of a collMod on an index, on a view, or of expireAfterSeconds "off" says what was changed
	ViewsInEvents        bool // the create event of a view has its pipeline under that name, and no collectionUUID
	ChecksCollectionUUID bool // a command is refused for another collection than the one of its collectionUUID; else that is ignored, or unknown
	TextAndHashedIndexes bool
	HashesDatabases      bool // command dbHash
	AppendsOplogNotes    bool // command appendOplogNote
	OplogNaturalOrder    bool // local.oplog.rs with {$natural: -1} begins at the newest entry
	SurvivesKillBySelf   bool // acknowledged writes survive kill -9 without SyncOnCommit
	FreesUniqueValues    bool // an update frees the value that its document had in a unique index; else only a delete does
	LSIDNamesUser        bool // lsid.uid in events is the hash of the user
	SortsBounded         bool // find with min or max honours its sort; else documents come in the order of their insertion
	OrdersBinary         bool // binary values sort by length, then subtype, then bytes; else subtypes do not count, and inside of documents lengths do not
}

// FeaturesOf asks the server behind a client, so that a given URI is judged too.
func FeaturesOf(ctx context.Context, client *mongo.Client) (Features, error) {
	var build struct {
		Secantus    string `bson:"secantusVersion"`
		Environment struct {
			Compiler string `bson:"cc"`
		} `bson:"buildEnvironment"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return Features{}, fmt.Errorf("ask the server what it is: %w", err)
	}

	switch {
	case build.Secantus == "":
		return featuresOf(Mongod), nil
	case build.Environment.Compiler == "rustc":
		return featuresOf(SecantusRust), nil
	default:
		return featuresOf(SecantusPython), nil
	}
}

func featuresOf(flavor Flavor) Features {
	switch flavor {
	case SecantusRust:
		return Features{
			KeepsDeprecatedTypes: true,
			DatesBeyondYear9999:  true,
			CreateEvents:         true,
			IndexOptionsInEvents: true,
			HashesDatabases:      true,
			AppendsOplogNotes:    true,
		}
	case SecantusPython:
		return Features{
			IdenticalReplaceNoop: true,
			SingleTxnClusterTime: true,
			KeepsEmptyTimestamp:  true,
			FreesUniqueValues:    true,
		}
	default:
		return Features{
			SplitsLargeEvents: true, BoundsReplies: true, IdenticalReplaceNoop: true, RetryableWrites: true, SingleTxnClusterTime: true,
			KeepsEmptyTimestamp: true, KeepsDeprecatedTypes: true, DatesBeyondYear9999: true, CreateEvents: true,
			IndexOptionsInEvents: true, ModifyEventsTellAll: true, ViewsInEvents: true, ChecksCollectionUUID: true,
			TextAndHashedIndexes: true, HashesDatabases: true, AppendsOplogNotes: true, OplogNaturalOrder: true,
			SurvivesKillBySelf: true, FreesUniqueValues: true, LSIDNamesUser: true, OrdersBinary: true, SortsBounded: true,
		}
	}
}
