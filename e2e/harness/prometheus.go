package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// prometheusVersion is that of the module whose parser the tests use.
const prometheusVersion = "v0.315.1"

// FindPrometheus is the path of a Prometheus: that of this host, or one that is built from its module, once, without what
// finds targets in clouds. What asks DNS stays: the compose file's Prometheus finds its targets so.
func FindPrometheus(ctx context.Context, progress io.Writer) (string, error) {
	if path, err := exec.LookPath("prometheus"); err == nil {
		return path, nil
	}

	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for Prometheus: %w", err)
	}

	path := filepath.Join(cache, "atlas-relay", "prometheus-"+prometheusVersion+"-dns")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}

	_, _ = fmt.Fprintf(progress, "there is no prometheus on PATH: building %s, once; it takes minutes\n", prometheusVersion)

	return path, BuildModule(ctx, "github.com/prometheus/prometheus", prometheusVersion, "./cmd/prometheus", path, "-tags", "remove_all_sd,enable_dns_sd,netgo")
}

// Prometheus is a server that scrapes the services it is told of.
type Prometheus struct {
	process *Process
	addr    string
	targets string // file that names them
}

// StartPrometheus starts a server with its files in dir, which scrapes the stats service as often as that; whom, Follow
// says. The caller must Stop it.
func StartPrometheus(ctx context.Context, path, dir string, every time.Duration) (*Prometheus, error) {
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}

	p := &Prometheus{addr: addr, targets: filepath.Join(dir, "targets.json")}
	config := fmt.Sprintf(`global: {scrape_interval: %[1]s, scrape_timeout: %[1]s}
scrape_configs:
- job_name: stats
  file_sd_configs: [{files: [%[2]q], refresh_interval: 1s}]
`, strconv.FormatInt(every.Milliseconds(), 10)+"ms", p.targets)
	file := filepath.Join(dir, "prometheus.yml")

	if err := errors.Join(os.WriteFile(file, []byte(config), 0o600), p.write(nil)); err != nil {
		return nil, fmt.Errorf("configure Prometheus: %w", err)
	}

	p.process, err = spawn(path, []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr,
	}, nil, filepath.Join(dir, "prometheus.log"), manner{orphaned: syscall.SIGKILL})

	return p, err
}

// Follow has it scrape this address, instead of those before.
func (p *Prometheus) Follow(addr string) error { return p.write([]string{addr}) }

func (p *Prometheus) write(addrs []string) error {
	type group struct {
		Targets []string `json:"targets"`
	}

	groups := []group{}
	if len(addrs) > 0 {
		groups = append(groups, group{addrs})
	}

	text, err := json.Marshal(groups)
	if err != nil {
		return err
	}

	// It is read at any moment, so it is whole at any moment.
	if err := os.WriteFile(p.targets+".new", text, 0o600); err != nil {
		return err
	}

	return os.Rename(p.targets+".new", p.targets)
}

// Stop ends the server.
func (p *Prometheus) Stop(ctx context.Context) error { return p.process.Stop(ctx) }

// Value is a series with what it has at a moment.
type Value struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression now.
func (p *Prometheus) Query(ctx context.Context, expression string) ([]Value, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(expression), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	defer response.Body.Close()

	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"` // when, and what as text
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the answer of Prometheus: %w", err)
	}

	if answer.Error != "" {
		return nil, fmt.Errorf("ask Prometheus: %s", answer.Error)
	}

	values := make([]Value, 0, len(answer.Data.Result))

	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)

		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read the answer of Prometheus: %w", err)
		}

		values = append(values, Value{r.Metric, value})
	}

	return values, nil
}
