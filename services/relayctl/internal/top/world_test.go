package top_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/top"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC // what is shown is the time of the terminal's place

	flag.Parse()
	os.Exit(m.Run())
}

func requireGolden(t *testing.T, name, got string) {
	t.Helper()

	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}

	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with: go test ./services/relayctl/internal/top -update")
	require.Equal(t, string(want), got)
}

// noon is the present of the tests; the clock of the service is three hours ahead.
func noon() time.Time { return time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC) }

func serverNoon() time.Time { return noon().Add(3 * time.Hour) }

// screen is a model with what it asked for.
type screen struct {
	*top.Model

	chosen []string
}

func newScreen(width, height int) *screen { return newScreenWith(width, height, top.Options{}) }

func newScreenWith(width, height int, o top.Options) *screen {
	s := new(screen)
	o.Server, o.Flow, o.Now = "stats:50051", "atlas-to-local", noon()
	o.Choose = func(flow string) { s.chosen = append(s.chosen, flow) }
	s.Model = top.New(o)
	s.send(tea.WindowSizeMsg{Width: width, Height: height})

	return s
}

// send updates the model and does what it asks for, the clock excepted.
func (s *screen) send(messages ...tea.Msg) (quit bool) {
	for _, message := range messages {
		_, command := s.Update(message)
		if _, isClock := message.(top.Clock); isClock || command == nil {
			continue
		}

		if _, isQuit := command().(tea.QuitMsg); isQuit {
			quit = true
		}
	}

	return quit
}

func (s *screen) press(keys ...string) (quit bool) {
	special := map[string]rune{
		"tab": tea.KeyTab, "down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "end": tea.KeyEnd, "home": tea.KeyHome,
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "left": tea.KeyLeft, "right": tea.KeyRight,
	}

	for _, key := range keys {
		message := tea.KeyPressMsg{Text: key, Code: []rune(key)[0]}

		switch code, found := special[key]; {
		case found:
			message = tea.KeyPressMsg{Code: code}
		case key == "ctrl+c":
			message = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		case key == "space":
			message = tea.KeyPressMsg{Code: ' ', Text: " "}
		}

		quit = s.send(message) || quit
	}

	return quit
}

func (s *screen) frame() string { return s.View().Content }

func sampleOf(stats *relayv1.Stats) top.Sample {
	return top.Sample{Flow: "atlas-to-local", Stats: stats, At: noon()}
}

// fine is a flow of 16 partitions and 3 instances that has nothing to do for a person.
func fine() *relayv1.Stats {
	return crowd(16, 3)
}

func crowd(partitions, instances int) *relayv1.Stats {
	s := &relayv1.Stats{
		Flow: "atlas-to-local", Status: relayv1.Status_STATUS_OK, SampleTime: timestamppb.New(serverNoon()),
		TotalChanges: new(uint64(1_234_567_890)), ProcessedChanges: new(uint64(1_234_000_000)), FailedChanges: new(uint64(0)),
		SkippedChanges: new(uint64(560_000)), PendingChanges: new(uint64(7_890)), BatchesProcessed: new(uint64(12_345_678)),
		PendingBatchSize: new(uint64(812)), IsBatchProcessing: new(true), ParkedChanges: new(uint64(0)), DeadLetters: new(uint64(0)),
		Consistent: true, AddsUp: new(true), Lag: durationpb.New(1500 * time.Millisecond), CaptureLag: durationpb.New(0),
		HistoryRemaining: durationpb.New(36 * time.Hour), HistoryTrend: relayv1.HistoryTrend_HISTORY_TREND_STILL,
		Stream: &relayv1.StreamStats{Name: "CDC_atlas-to-local", Messages: 910, Bytes: 1_500_000_000, MaxBytes: 10 << 30},
	}

	for i := range instances {
		instance := &relayv1.InstanceStats{
			Role: relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR, State: relayv1.InstanceState_INSTANCE_STATE_APPLYING,
			Instance: &relayv1.Instance{
				Id: fmt.Sprintf("%016x", 0x3fa9c0de00+i), Host: fmt.Sprintf("relay-%d.example.net", i), Pid: int64(4000 + i), Version: "v1.4.0",
				StartTime: timestamppb.New(serverNoon().Add(-50 * time.Hour)),
			},
			ReportAge: durationpb.New(800 * time.Millisecond), Partitions: uint32(partitions / max(1, instances-1)),
		}
		if i == 0 {
			instance.Role, instance.State, instance.Partitions = relayv1.InstanceRole_INSTANCE_ROLE_LISTENER, relayv1.InstanceState_INSTANCE_STATE_STREAMING, 0
		}

		s.Instances = append(s.Instances, instance)
	}

	for i := range partitions {
		s.Partitions = append(s.Partitions, &relayv1.PartitionStats{
			Partition: uint32(i), State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Owned: new(true), Epoch: uint64(100 + i),
			OwnerInstance: s.GetInstances()[1+i%(instances-1)].GetInstance().GetId(), StateTime: timestamppb.New(serverNoon().Add(-2 * time.Hour)),
			Sequence: uint64(1_000_000 + i), Position: &relayv1.Position{Seconds: uint32(serverNoon().Unix()), Increment: uint32(i), Ordinal: 1},
			PendingChanges: new(uint64(493)), ProcessedChanges: 77_125_000, BatchesProcessed: 771_604, PendingBatchSize: 50, IsBatchProcessing: i%2 == 0,
			Lag: durationpb.New(time.Duration(i) * 100 * time.Millisecond),
		})
	}

	return s
}

// troubled is a flow with something of everything that can be wrong.
func troubled(partitions, instances int) *relayv1.Stats {
	s := crowd(partitions, instances)
	s.Status = relayv1.Status_STATUS_DOWN
	s.Reasons = []string{
		"partition 11 is FAILED: a message of a stranger, sequence 123456789: stop whoever writes to the stream, then restart the processor that owns it",
		"dead letters: 3; the oldest is in shop.orders: Document failed validation (code 121)",
		"partitions 5, 9 are PAUSED: no primary in the replica set rs0",
		"partition 12 is without an owner that reports",
	}
	s.NextStep = "do what the reason says, then restart the processor"
	s.DeadLetters, s.ParkedChanges, s.FailedChanges, s.AddsUp = new(uint64(3)), new(uint64(17)), new(uint64(3)), new(false)

	for _, i := range []int{5, 9} {
		p := s.GetPartitions()[i]
		p.State, p.Reason, p.StateTime = relayv1.PartitionState_PARTITION_STATE_PAUSED, "no primary in the replica set rs0", timestamppb.New(serverNoon().Add(-90*time.Second))
	}

	failed := s.GetPartitions()[11]
	failed.State, failed.Reason = relayv1.PartitionState_PARTITION_STATE_FAILED, "a message of a stranger, sequence 123456789: stop whoever writes to the stream, then restart the processor that owns it"

	lost := s.GetPartitions()[12]
	lost.State, lost.OwnerInstance, lost.Owned, lost.Reason = 0, "", new(false), "the next one is ACQUIRING: its lease is held by 000003fa9c0de001"

	s.GetPartitions()[3].ParkedChanges = 17

	worst := s.GetInstances()[instances-1]
	worst.State, worst.Reason = relayv1.InstanceState_INSTANCE_STATE_FAILED, failed.GetReason()

	silent := s.GetInstances()[instances-2]
	silent.IsSilent, silent.Reason, silent.ReportAge = true, "has said nothing for 12s", durationpb.New(12*time.Second)

	gone := s.GetInstances()[instances-3]
	gone.IsGone, gone.State, gone.Partitions, gone.ReportAge = true, 0, 0, durationpb.New(12*time.Minute)
	gone.Reason = "has said nothing since 15:48:00 UTC; of its partitions, 3 with process 4001 on relay-1.example.net"
	s.Notes = []string{"processor on " + gone.GetInstance().GetHost() + " (process 4047) is gone: it " + gone.GetReason()}

	return s
}

// unknown is a flow whose target cannot be asked.
func unknown() *relayv1.Stats {
	s := fine()
	why := "target: server selection error: context deadline exceeded, current topology: { Type: ReplicaSetNoPrimary }"
	s.Status, s.Reasons, s.UnknownBecause = relayv1.Status_STATUS_UNKNOWN, []string{why}, []string{why}
	s.NextStep = "bring the server back, or mend the way to it; the services wait and go on by themselves"
	s.ProcessedChanges, s.FailedChanges, s.SkippedChanges, s.PendingChanges, s.BatchesProcessed, s.ParkedChanges = nil, nil, nil, nil, nil, nil
	s.DeadLetters, s.AddsUp, s.Lag, s.Consistent = nil, nil, nil, false

	for _, p := range s.GetPartitions() {
		p.PendingChanges, p.Lag = nil, nil
	}

	return s
}

// timeline is ten minutes of a wave, with a minute of which nothing is known.
func timeline() top.Timeline {
	line := top.Timeline{Flow: "atlas-to-local"}

	for i := range 600 {
		p := &relayv1.TimelinePoint{SampleTime: timestamppb.New(serverNoon().Add(time.Duration(i-600) * time.Second))}
		if i < 420 || i >= 480 {
			wave := 1 + math.Sin(float64(i)/40)
			p.CapturedPerSecond, p.SettledPerSecond = new(600*wave), new(590*wave)
			p.PendingChanges, p.Lag = new(uint64(4000*wave)), durationpb.New(time.Duration(wave*float64(time.Second)))
		}

		line.Points = append(line.Points, p)
	}

	return line
}

func groups() top.Groups {
	at := timestamppb.New(serverNoon().Add(-time.Hour))

	return top.Groups{Flow: "atlas-to-local", Groups: []*relayv1.DeadLetterGroup{
		{Namespace: &relayv1.Namespace{Database: "shop", Collection: "orders"}, ErrorCode: 121, Error: "Document failed validation: price must be a positive number of cents", DeadLetters: 2, FirstChangeTime: at, LastChangeTime: at},
		{Namespace: &relayv1.Namespace{Database: "crm", Collection: "customers"}, ErrorCode: 11000, Error: "E11000 duplicate key error collection: crm.customers index: email_1", DeadLetters: 1, FirstChangeTime: at, LastChangeTime: at},
	}}
}

func errAway() error {
	return errors.New("the stats service at stats:50051 cannot be reached: connection refused")
}
