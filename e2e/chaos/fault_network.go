package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

// network is trouble of one link.
type network struct {
	link    Link
	trouble trouble
	towards fault.Direction
	bytes   int           // until a cut in mid-frame
	delay   time.Duration // of a slow link
	rate    int           // bytes a second of a narrow one
	lasts   uint64        // changes
}

// trouble is what happens to a link.
type trouble string

// The troubles.
const (
	reset    trouble = "every connection reset"
	midFrame trouble = "cut in mid-frame"
	refused  trouble = "reset, and none taken"
	halfOpen trouble = "half-open both ways"
	oneWay   trouble = "half-open"
	slow     trouble = "slow"
	narrow   trouble = "narrow"
)

// networkMost bounds what the load is waited for.
const networkMost = 8 * time.Second

func networkClass() Class {
	return Class{
		Name: "network", Says: "a link is reset, cut in mid-frame, half-open, refused, slow or narrow", Short: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			troubles := []trouble{reset, midFrame, refused, halfOpen, oneWay, slow, narrow}

			return &network{
				link: Links()[r.IntN(len(Links()))], trouble: troubles[r.IntN(len(troubles))],
				towards: fault.Direction(r.IntN(2)), bytes: r.IntN(64 << 10), rate: 64 << 10,
				delay: []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond}[r.IntN(3)], lasts: 100 + uint64(r.IntN(500)),
			}
		},
	}
}

// String implements Fault.
func (f *network) String() string {
	text := fmt.Sprintf("%s: %s", f.link, f.trouble)

	switch f.trouble {
	case reset:
		return text
	case midFrame:
		return fmt.Sprintf("%s after %d bytes %s", text, f.bytes, f.towards)
	case oneWay:
		text += " " + f.towards.String()
	case slow:
		text += fmt.Sprintf(" by %s %s", f.delay, f.towards)
	case narrow:
		text += fmt.Sprintf(", %d bytes a second", f.rate)
	case refused, halfOpen:
	}

	return fmt.Sprintf("%s, for %d changes", text, f.lasts)
}

// Strike implements Fault.
func (f *network) Strike(ctx context.Context, s *Stage) (Hit, error) {
	proxy := s.Links[f.link]
	hit := Hit{Times: proxy.Connections(), Victim: string(f.link), Detail: f.String()}

	switch f.trouble {
	case reset:
		proxy.Cut()

		return hit, nil
	case midFrame:
		proxy.CutAfter(f.towards, f.bytes)
	case refused:
		proxy.Refuse()
		proxy.Cut()
	case halfOpen:
		proxy.Swallow()
	case oneWay:
		proxy.SwallowOnly(f.towards)
	case slow:
		proxy.Delay(f.towards, f.delay)
	case narrow:
		proxy.Limit(f.rate)
	}

	s.Pass(ctx, f.lasts, networkMost)
	proxy.Heal()

	return hit, nil
}
