package preflight

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// leastNATS has the fixes that "the stream is the checkpoint" needs.
const leastNATS = "2.15.2"

// Sizes that are told.
const (
	goodPayload  = 1 << 20  // the default of nats-server: an event of 16 MiB is 17 messages
	leastToken   = 512      // bytes of an ordinary resume token
	defaultBytes = 64 << 20 // least that a stream may have
	almostFull   = 80       // percent of the stream's limit
	percent      = 100
)

func natsChecks() []Check {
	return []Check{
		{
			Code: "NTS001", What: "NATS answers and knows the user",
			Why: "everything passes through it", Remedy: "check NATS_URL, NATS_CREDS, that nats-server runs, and that this host may reach it", Needs: []string{"CFG002"},
			run: connectNATS,
		},
		{
			Code: "NTS002", What: "nats-server is " + leastNATS + " or later",
			Why: "older ones can lose acknowledged messages while purging", Remedy: "upgrade nats-server", Needs: []string{"NTS001"},
			run: func(_ context.Context, w *World) []Finding {
				if v := w.nc.ConnectedServerVersion(); older(v, leastNATS) {
					return one(warn(w.natsWhere(), "nats-server %s is older than %s", v, leastNATS))
				}

				return nil
			},
		},
		{
			Code: "NTS003", What: "JetStream is enabled for the account",
			Why: "changes are kept in a stream", Remedy: "start nats-server with -js and -sd <directory>, or enable JetStream for the account", Needs: []string{"NTS001"},
			run: askAccount,
		},
		{
			Code: "NTS004", What: "JetStream has room on disk for the stream",
			Why: "a full store stops the listener, and the oplog has to wait", Remedy: "raise max_file_store or the account's limit, or lower STREAM_MAX_BYTES", Needs: []string{"NTS003"}, after: []string{"STR001"},
			run: room,
		},
		{
			Code: "NTS005", What: "max_payload lets an event pass (1 MiB is well)",
			Why: "larger events travel in parts: the smaller, the more", Remedy: "set max_payload: 1MB in nats-server's configuration and restart it: a reload tells no client that is connected", Needs: []string{"NTS001"},
			run: payload,
		},
	}
}

func (w *World) natsWhere() string { return "NATS_URL (" + w.NATS.URL.String() + ")" }

func connectNATS(ctx context.Context, w *World) []Finding {
	var err error

	w.nc, err = natsconn.ConnectWithin(ctx, w.NATS, natsconn.Options{Name: "atlas-relay preflight", Inbox: topology.OperatorInbox(w.Flow)}, w.Log)
	if err != nil {
		f := fail(w.natsWhere(), "%s", reason(err))
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return one(refused(f).remedy("check NATS_CREDS, or user and password in NATS_URL"))
		}

		return one(unreachable(f))
	}

	if w.js, err = jetstream.New(w.nc); err != nil {
		return one(fail(w.natsWhere(), "%s", reason(err)))
	}

	return nil
}

func askAccount(ctx context.Context, w *World) []Finding {
	account, err := w.js.AccountInfo(ctx)

	switch {
	case err == nil:
		w.account = account

		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return one(refused(fail(w.natsWhere(), "JetStream is off")))
	default:
		return one(unreachable(fail(w.natsWhere(), "JetStream gives no answer: %s", reason(err))))
	}
}

// room compares what the stream wants with what the account has left, or what
// the stream has left where it exists.
func room(_ context.Context, w *World) []Finding {
	if w.stream != nil {
		return streamRoom(w)
	}

	limit := w.account.Limits.MaxStore
	if limit <= 0 {
		return one(unknown(w.natsWhere(), "the account states no limit: flow init is refused by nats-server where the disk is too small"))
	}

	taken := int64(min(max(w.account.Store, w.account.ReservedStore), 1<<62))
	free := limit - taken
	wanted := max(w.MaxBytes, defaultBytes)

	if free < wanted {
		return one(refused(fail(w.natsWhere(), "the stream wants %d bytes, %d of %d are free", wanted, max(free, 0), limit)))
	}

	return nil
}

func streamRoom(w *World) []Finding {
	limit := w.maxBytes
	if limit <= 0 {
		return nil
	}

	if share := w.state.Bytes * percent / uint64(limit); share >= almostFull {
		return one(warn("stream "+w.stream.Name(), "it is %d %% full: %d of %d bytes", share, w.state.Bytes, limit).
			remedy("look whether processors apply, or raise the stream's max_bytes"))
	}

	return nil
}

func payload(_ context.Context, w *World) []Finding {
	limit := w.nc.MaxPayload()

	if _, err := event.PartLimit(limit, make([]byte, leastToken)); err != nil {
		return one(refused(fail(w.natsWhere(), "max_payload %d is too small: %s", limit, reason(err))))
	}

	if limit < goodPayload {
		return one(warn(w.natsWhere(), "max_payload is %d bytes", limit))
	}

	return nil
}
