package harness

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/chromedp/chromedp"
)

// ErrNoBrowser says that there is no Chromium on this machine.
var ErrNoBrowser = errors.New("there is no chromium: apt-get install chromium")

// browserStart bounds the start of the browser.
const browserStart = 2 * time.Minute

// OpenTab starts a headless Chromium with its files in dir and returns its tab, for chromedp. stop ends both; so does the
// end of ctx, but nothing waits for it then.
func OpenTab(ctx context.Context, dir string, more ...chromedp.ExecAllocatorOption) (tab context.Context, stop func() error, err error) {
	path := ""

	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found

			break
		}
	}

	if path == "" {
		return nil, nil, ErrNoBrowser
	}

	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900), chromedp.UserDataDir(dir),
		chromedp.WSURLReadTimeout(browserStart))

	allocator, endAllocator := chromedp.NewExecAllocator(ctx, append(options, more...)...)
	tab, endTab := chromedp.NewContext(allocator)

	return tab, func() error {
		defer endAllocator()
		defer endTab()

		if err := chromedp.Cancel(tab); err != nil {
			return fmt.Errorf("end the browser: %w", err)
		}

		return nil
	}, nil
}
