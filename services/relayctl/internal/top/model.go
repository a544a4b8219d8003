package top

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// view is what the body of the screen shows.
type view int

const (
	overview view = iota
	partitions
	instances
	letters
)

func views() []string { return []string{"Overview", "Partitions", "Instances", "Dead letters"} }

// silence is how long no sample may come before the screen says so: one is due every second.
const silence = 4 * time.Second

// Options says what is shown and how.
type Options struct {
	Server string
	Flow   string
	Color  bool         // whether the terminal gets colours
	ASCII  bool         // whether it knows no other letters
	Now    time.Time    // when it begins
	Choose func(string) // follows another flow; does not block

	Choosing bool // begin with the choice of a flow
}

// Model is the screen. Only Update changes it.
type Model struct {
	options Options
	style   style

	width, height int
	now           time.Time

	flow  string
	flows []string

	stats   *relayv1.Stats // shown; nil before the first sample
	came    time.Time      // when the last sample came
	began   time.Time      // of the wait for the first sample
	history history
	charted history        // what is shown of it
	last    *relayv1.Stats // of the history
	groups  *Groups        // nil before the first answer
	trouble error          // nil while samples come

	paused bool // what is shown stays; since when says stats

	view    view
	order   int          // of the partitions, an index of orders
	cursors map[view]int // selected row of each list
	step    int          // of the charts, an index of steps

	help     bool
	choosing bool
	choice   int // in flows
}

// New returns the screen before the first message.
func New(o Options) *Model {
	return &Model{
		options: o, style: newStyle(o.Color), flow: o.Flow, now: o.Now, began: o.Now,
		width: 80, height: 24, cursors: make(map[view]int), choosing: o.Choosing,
	}
}

// Init implements tea.Model.
func (*Model) Init() tea.Cmd { return tick() }

// tick sends the clock.
func tick() tea.Cmd {
	const every = 500 * time.Millisecond

	return tea.Tick(every, func(now time.Time) tea.Msg { return Clock(now) })
}

// Update implements tea.Model.
func (m *Model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case tea.KeyPressMsg:
		return m, m.press(message.String())
	case Clock:
		m.now = time.Time(message)

		return m, tick()
	case Flows:
		m.flows = message
	case Timeline:
		if message.Flow == m.flow {
			m.history, m.last = m.history.merge(message.Points), nil
			if !m.paused {
				m.charted = m.history
			}
		}
	case Sample:
		m.sample(message)
	case Groups:
		if message.Flow == m.flow && !m.paused {
			m.groups = &message
		}
	case Trouble:
		if message.Flow == m.flow {
			m.trouble = message.Err
		}
	}

	m.clamp()

	return m, nil
}

func (m *Model) sample(s Sample) {
	if s.Flow != m.flow {
		return
	}

	m.history = m.history.add(m.last, s.Stats)
	m.last, m.came, m.trouble = s.Stats, s.At, nil

	if m.paused && m.stats != nil {
		return
	}

	m.adopt()
}

// adopt shows the last sample.
func (m *Model) adopt() {
	m.stats, m.charted = m.last, m.history
	show.SortPartitions(m.stats.GetPartitions(), orders()[m.order])
	show.SortInstances(m.stats.GetInstances())
}

func orders() []string {
	return []string{show.ByAttention, show.ByNumber, show.ByPending, show.ByLag}
}

// press does what a key stands for.
func (m *Model) press(key string) tea.Cmd {
	defer m.clamp()

	switch {
	case key == "q" || key == "ctrl+c":
		return tea.Quit
	case key == "?":
		m.help, m.choosing = !m.help, false
	case m.help:
		m.help = false // any other key leads back
	case m.choosing:
		return m.pressChoosing(key)
	case m.pressList(key):
	default:
		m.pressView(key)
	}

	return nil
}

func (m *Model) pressView(key string) {
	switch key {
	case "1", "2", "3", "4":
		m.view = view(key[0] - '1')
	case "tab", "right", "l":
		m.view = (m.view + 1) % view(len(views()))
	case "shift+tab", "left", "h":
		m.view = (m.view + view(len(views())) - 1) % view(len(views()))
	case "s":
		m.order = (m.order + 1) % len(orders())
		if m.stats != nil {
			show.SortPartitions(m.stats.GetPartitions(), orders()[m.order])
		}
	case "w":
		m.step = (m.step + 1) % len(steps())
	case "p", "space":
		m.paused = !m.paused
		if !m.paused && m.last != nil {
			m.adopt()
		}
	case "f":
		m.choosing, m.choice = true, max(0, slices.Index(m.flows, m.flow))
	}
}

// pressList moves in the list that is shown.
func (m *Model) pressList(key string) bool {
	if m.view == overview {
		return false
	}

	page := max(1, m.listHeight()-1)

	switch key {
	case "down", "j":
		m.cursors[m.view]++
	case "up", "k":
		m.cursors[m.view]--
	case "pgdown", "ctrl+d", "ctrl+f":
		m.cursors[m.view] += page
	case "pgup", "ctrl+u", "ctrl+b":
		m.cursors[m.view] -= page
	case "home", "g":
		m.cursors[m.view] = 0
	case "end", "G":
		m.cursors[m.view] = m.rows() - 1
	default:
		return false
	}

	return true
}

func (m *Model) pressChoosing(key string) tea.Cmd {
	switch key {
	case "down", "j":
		m.choice++
	case "up", "k":
		m.choice--
	case "esc", "f":
		m.choosing = false
	case "enter":
		m.choosing = false
		if m.choice < len(m.flows) && m.flows[m.choice] != m.flow {
			return m.change(m.flows[m.choice])
		}
	}

	return nil
}

// change begins with another flow.
func (m *Model) change(flow string) tea.Cmd {
	m.flow, m.stats, m.last, m.history, m.charted, m.groups, m.trouble, m.paused = flow, nil, nil, nil, nil, nil, nil, false
	m.began, m.came = m.now, time.Time{}
	clear(m.cursors)

	choose := m.options.Choose

	return func() tea.Msg {
		choose(flow)

		return nil
	}
}

// rows is how many rows the list has that is shown.
func (m *Model) rows() int {
	switch m.view {
	case partitions:
		return len(m.stats.GetPartitions())
	case instances:
		return len(m.stats.GetInstances())
	case letters:
		if m.groups != nil {
			return len(m.groups.Groups)
		}
	case overview:
	}

	return 0
}

// clamp keeps what is selected within what there is.
func (m *Model) clamp() {
	m.choice = max(0, min(m.choice, len(m.flows)-1))
	m.cursors[m.view] = max(0, min(m.cursors[m.view], m.rows()-1))
}

// silentSince is when the last sample came, if that is too long ago.
func (m *Model) silentSince() (since time.Time, silent bool) {
	since = m.came
	if since.IsZero() {
		since = m.began
	}

	return since, m.trouble != nil || m.now.Sub(since) > silence
}
