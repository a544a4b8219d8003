package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// pageTimes are how long a person waits.
type pageTimes struct {
	usable time.Duration // from the first byte to the first figures
	act    time.Duration // from a key or click to the picture after it
}

// firstFigures notes, before anything of the page runs, when its figures stand there.
const firstFigures = `new MutationObserver((_, observer) => {
  if (!document.querySelector('[data-figure="Captured"] span')?.textContent) return;
  window.figuresAt = performance.now();
  observer.disconnect();
}).observe(document, { childList: true, subtree: true, characterData: true })`

// sinceFirstByte is 0 as long as there are no figures.
const sinceFirstByte = `window.figuresAt ? window.figuresAt - performance.getEntriesByType("navigation")[0].responseStart : 0`

// interactions are the times of opening partitions and instances, of going on by an arrow key and of another chart, each
// until the browser has drawn what came of it.
const interactions = `(async () => {
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const took = [];
  const time = async (act) => {
    const begin = performance.now();
    act();
    await drawn();
    took.push(performance.now() - begin);
  };
  const close = () => document.querySelector("#detail-close").click();

  for (let n = 0; n < 5; n++) {
    for (const kind of ["tiles", "instances"]) {
      const button = document.querySelectorAll("#" + kind + " button")[n * 3];
      await time(() => button.click());
      await time(close);
      button.focus();
      await time(() => button.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true })));
    }
    await time(() => document.querySelector('[data-window="' + [300, 900, 3600][n % 3] + '"]').click());
  }

  return took;
})()`

// openPages opens the page several times in a browser; without one the times stay 0.
func (b *bench) openPages(ctx context.Context, url string) (times pageTimes, err error) {
	dir, err := os.MkdirTemp("", "atlas-relay-bench-browser-*")
	if err != nil {
		return times, fmt.Errorf("make a directory for the browser: %w", err)
	}
	defer os.RemoveAll(dir)

	tab, stop, err := harness.OpenTab(ctx, dir)
	if errors.Is(err, harness.ErrNoBrowser) {
		b.linef("  %v", err)

		return times, nil
	}

	if err != nil {
		return times, err
	}

	defer func() { err = errors.Join(err, stop()) }()

	if _, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: firstFigures}); err != nil {
		return times, fmt.Errorf("prepare the page: %w", err)
	}

	var usable []time.Duration

	for range asks {
		if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
			return times, fmt.Errorf("open the page: %w", err)
		}

		took, err := figures(tab)
		if err != nil {
			return times, err
		}

		usable = append(usable, took)
	}

	took, err := chromedp.Run(tab, chromedp.Evaluate[[]float64](interactions, chromedp.EvalAwaitPromise))
	if err != nil {
		return times, fmt.Errorf("use the page: %w", err)
	}

	acts := make([]time.Duration, len(took))
	for i, ms := range took {
		acts[i] = time.Duration(ms * float64(time.Millisecond))
	}

	return pageTimes{middle(usable), middle(acts)}, nil
}

func figures(tab context.Context) (took time.Duration, err error) {
	err = harness.Await(tab, 20*time.Millisecond, func(context.Context) (bool, error) {
		ms, err := chromedp.Run(tab, chromedp.Evaluate[float64](sinceFirstByte))
		took = time.Duration(ms * float64(time.Millisecond))

		return took > 0, err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the page's figures: %w", err)
	}

	return took, nil
}
