package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const (
	eventInterval = time.Second
	// slowest is what a reader gets for one event.
	slowest = 20 * time.Second
)

// events serves the samples of a flow as server-sent events, one a second:
//
//	event: stats        data: relay.v1.Stats as JSON
//	event: error        data: google.rpc.Status as JSON; the stream ends
//
// An error before the first sample is an ordinary answer with its status.
type events struct {
	stats     relayv1.StatsServiceClient
	translate *runtime.ServeMux
	caller    *caller

	mu     sync.Mutex
	latest map[string]written // by flow
}

// written is a sample as it was sent: all readers of a flow get the same one at the same time.
type written struct {
	taken time.Time
	data  []byte
}

func newEvents(conn *grpc.ClientConn, translate *runtime.ServeMux, caller *caller) *events {
	return &events{
		stats: relayv1.NewStatsServiceClient(conn), translate: translate, caller: caller,
		latest: make(map[string]written),
	}
}

// marshal makes the JSON of a sample, once for all readers.
func (e *events) marshal(sample *relayv1.Stats) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()

	taken := sample.GetSampleTime().AsTime()
	if known := e.latest[sample.GetFlow()]; known.taken.Equal(taken) {
		return known.data, nil
	}

	data, err := marshaler().Marshal(sample) // on one line
	if err == nil {
		e.latest[sample.GetFlow()] = written{taken, data}
	}

	return data, err
}

// ServeHTTP implements http.Handler.
func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	meta := e.caller.provenance(r)
	meta.Set("authorization", r.Header.Get("Authorization"))

	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(r.Context(), meta))
	defer cancel()

	stream, err := e.stats.WatchStats(ctx, &relayv1.WatchStatsRequest{
		Flow: r.PathValue("flow"), Interval: durationpb.New(eventInterval),
	})
	if err != nil {
		e.refuse(w, r, err)

		return
	}

	sample, err := stream.Recv()
	if err != nil {
		e.refuse(w, r, err)

		return
	}

	w.Header().Set("Content-Type", "text/event-stream")

	out := eventWriter{w: w, control: http.NewResponseController(w)}

	for ; err == nil; sample, err = stream.Recv() {
		data, err := e.marshal(sample.GetStats())
		if err != nil || out.write("stats", data) != nil {
			return // the reader has left
		}
	}

	if errors.Is(r.Context().Err(), context.Canceled) {
		return
	}

	if data, err := marshaler().Marshal(status.Convert(err).Proto()); err == nil {
		_ = out.write("error", data)
	}
}

// refuse answers as the translator does.
func (e *events) refuse(w http.ResponseWriter, r *http.Request, err error) {
	runtime.HTTPError(r.Context(), e.translate, marshaler(), w, r, err)
}

type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (e *eventWriter) write(name string, data []byte) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		return err
	}

	if _, err := fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, data); err != nil {
		return err
	}

	return e.control.Flush()
}
