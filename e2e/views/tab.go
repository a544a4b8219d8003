package views

import (
	"context"
	"time"

	"github.com/chromedp/chromedp"
)

// InTab evaluates expressions in a tab of a browser, each with this patience: the Evaluate of Options for a page that is
// open in Chromium.
func InTab(tab context.Context, patience time.Duration) func(ctx context.Context, expression string) (string, error) {
	return func(ctx context.Context, expression string) (string, error) {
		tab, cancel := context.WithTimeout(tab, patience)
		defer cancel()

		stop := context.AfterFunc(ctx, cancel)
		defer stop()

		return chromedp.Run(tab, chromedp.Evaluate[string](expression))
	}
}
