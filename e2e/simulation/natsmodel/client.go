package natsmodel

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Network is the way between a client and the server.
type Network interface {
	// Call brings a request to the server, where it runs, and the answer back. An error
	// says that there is no answer: the request may have run.
	Call(ctx context.Context, request func()) error
	// Send brings a message to the server, in the order of all that the client sends, and
	// returns at once. Error: the client knows that it is not connected.
	Send(message func()) error
	// Reply brings an answer to something sent to the client, in the order of all such.
	Reply(answer func())
	// Flush waits until all that was sent has arrived.
	Flush(ctx context.Context) error
}

// Client is a connection. It implements the parts of *nats.Conn that the relay calls.
type Client struct {
	server     *Server
	network    Network
	maxPayload int64
	inboxes    int
	replies    map[string]chan *nats.Msg // by prefix of the subject
}

// NewClient returns a client.
func NewClient(server *Server, network Network, maxPayload int64) *Client {
	return &Client{server: server, network: network, maxPayload: maxPayload, replies: map[string]chan *nats.Msg{}}
}

// PublishMsg implements what *nats.Conn has.
func (c *Client) PublishMsg(msg *nats.Msg) error {
	return c.network.Send(func() {
		answer := c.arrive(msg)
		if msg.Reply == "" {
			return
		}

		c.network.Reply(func() {
			prefix := msg.Reply[:strings.LastIndexByte(msg.Reply, '.')+1]
			if channel := c.replies[prefix]; channel != nil {
				channel <- answer
			}
		})
	})
}

// arrive is the answer of the server to a message of the stream.
func (c *Client) arrive(msg *nats.Msg) *nats.Msg {
	for _, stream := range c.server.streams {
		if matches(stream.config.Subjects[0], msg.Subject) {
			return &nats.Msg{Subject: msg.Reply, Data: stream.Publish(c.server.now(), msg)}
		}
	}

	return &nats.Msg{Subject: msg.Reply, Header: nats.Header{"Status": []string{"503"}}}
}

// NewInbox implements what *nats.Conn has.
func (c *Client) NewInbox() string {
	c.inboxes++

	return "_INBOX." + strconv.Itoa(c.inboxes)
}

// ChanSubscribe implements what *nats.Conn has, for subjects that end in "*".
func (c *Client) ChanSubscribe(subject string, channel chan *nats.Msg) (*nats.Subscription, error) {
	c.replies[strings.TrimSuffix(subject, "*")] = channel

	return nil, nil //nolint:nilnil // whoever unsubscribes it only learns that it is none
}

// RequestWithContext answers what is asked of a stream past nats.go.
func (c *Client) RequestWithContext(ctx context.Context, subject string, _ []byte) (*nats.Msg, error) {
	name, ok := strings.CutPrefix(subject, "$JS.API.STREAM.INFO.")
	if !ok {
		return nil, nats.ErrNoResponders
	}

	reply := &nats.Msg{}
	err := c.network.Call(ctx, func() { reply.Data = c.rawInfo(name) })

	return reply, err
}

func (c *Client) rawInfo(name string) []byte {
	var answer struct {
		Error *jetstream.APIError `json:"error,omitempty"`
		State struct {
			Deleted uint64 `json:"num_deleted"`
			Lost    struct {
				Messages []uint64 `json:"msgs"`
			} `json:"lost"`
		} `json:"state"`
	}

	if stream := c.server.streams[name]; stream != nil {
		answer.State.Deleted = uint64(stream.state().NumDeleted)
		answer.State.Lost.Messages = stream.lost
	} else {
		answer.Error = &jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound, Description: "stream not found"}
	}

	text, _ := json.Marshal(answer) // of plain fields

	return text
}

// FlushWithContext implements what *nats.Conn has.
func (c *Client) FlushWithContext(ctx context.Context) error { return c.network.Flush(ctx) }

// MaxPayload implements what *nats.Conn has.
func (c *Client) MaxPayload() int64 { return c.maxPayload }

// StatusChanged implements what *nats.Conn has; nothing comes on the channel.
func (*Client) StatusChanged(...nats.Status) chan nats.Status { return make(chan nats.Status) }

// RemoveStatusListener implements what *nats.Conn has.
func (*Client) RemoveStatusListener(chan nats.Status) {}

// JetStream returns what JetStream does over the connection: the parts of
// jetstream.JetStream that the relay calls.
func (c *Client) JetStream() jetstream.JetStream { return &jetStream{client: c} }

type jetStream struct {
	jetstream.JetStream // what the relay does not call

	client *Client
}

func (j *jetStream) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	h := &handle{client: j.client, name: name}
	_, err := h.Info(ctx)

	return h, err
}

func (j *jetStream) KeyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	var bucket *Bucket

	c := j.client
	if err := c.network.Call(ctx, func() { bucket = c.server.buckets[name] }); err != nil {
		return nil, err
	}

	if bucket == nil {
		return nil, jetstream.ErrBucketNotFound
	}

	return &keys{client: c, bucket: bucket, name: name}, nil
}

// handle is a stream as a client knows it.
type handle struct {
	jetstream.Stream // what the relay does not call

	client *Client
	name   string
	info   jetstream.StreamInfo
}

// call runs a request on the stream.
func (h *handle) call(ctx context.Context, request func(*Stream)) error {
	found := false
	err := h.client.network.Call(ctx, func() {
		if stream := h.client.server.streams[h.name]; stream != nil {
			found = true

			request(stream)
		}
	})

	if err == nil && !found {
		return jetstream.ErrStreamNotFound
	}

	return err
}

func (h *handle) Info(ctx context.Context, _ ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	err := h.call(ctx, func(s *Stream) { h.info = jetstream.StreamInfo{Config: s.config, State: s.state()} })
	info := h.info

	return &info, err
}

// InTurn says that requests are not to be made side by side: each is a step of its own.
func (*handle) InTurn() {}

func (h *handle) CachedInfo() *jetstream.StreamInfo { return &h.info }

func (h *handle) GetMsg(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return h.get(ctx, func(s *Stream) *Stored {
		if subject := nextFor(opts); subject != "" {
			return s.next(sequence, subject)
		}

		return s.at(sequence)
	})
}

// nextFor is what jetstream.WithGetMsgSubject asks for. The request that the option
// fills in is of a type that only nats.go names.
func nextFor(opts []jetstream.GetMsgOpt) string {
	for _, opt := range opts {
		f := reflect.ValueOf(opt)
		request := reflect.New(f.Type().In(0).Elem())
		f.Call([]reflect.Value{request})

		if subject := request.Elem().FieldByName("NextFor").String(); subject != "" {
			return subject
		}
	}

	return ""
}

func (h *handle) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return h.get(ctx, func(s *Stream) *Stored { return s.lastOf(subject) })
}

func (h *handle) get(ctx context.Context, find func(*Stream) *Stored) (*jetstream.RawStreamMsg, error) {
	var m *Stored

	err := h.call(ctx, func(s *Stream) { m = find(s) })

	return rawOf(m, err)
}

func rawOf(m *Stored, err error) (*jetstream.RawStreamMsg, error) {
	if err != nil {
		return nil, err
	}

	if m == nil {
		return nil, jetstream.ErrMsgNotFound
	}

	return &jetstream.RawStreamMsg{Subject: m.Msg.Subject, Sequence: m.Sequence, Header: m.Msg.Header, Data: m.Msg.Data, Time: m.At}, nil
}

func (h *handle) CreateConsumer(ctx context.Context, config jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	var consumer *Consumer

	err := h.call(ctx, func(s *Stream) { consumer = s.createConsumer(config) })

	return consumer, err
}

func (h *handle) DeleteConsumer(ctx context.Context, name string) error {
	found := false
	err := h.call(ctx, func(s *Stream) {
		if c := s.consumers[name]; c != nil {
			found, c.deleted = true, true

			delete(s.consumers, name)
		}
	})

	if err == nil && !found {
		return jetstream.ErrConsumerNotFound
	}

	return err
}

func (h *handle) ConsumerNames(ctx context.Context) jetstream.ConsumerNameLister {
	l := &lister{}
	l.err = h.call(ctx, func(s *Stream) {
		for name := range s.consumers {
			l.names = append(l.names, name)
		}
	})

	slices.Sort(l.names)

	return l
}

type lister struct {
	names []string
	err   error
}

func (l *lister) Name() <-chan string {
	channel := make(chan string, len(l.names))
	for _, name := range l.names {
		channel <- name
	}

	close(channel)

	return channel
}

func (l *lister) Err() error { return l.err }
