package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// anyPort is an OPS_ADDR whose port is the system's choice.
const anyPort = loopback + ":0"

// keepOpsAddr gives a service that was given none an OPS_ADDR of its own: by that the statistics tell, among several
// processes of a host, which of them was started again. Without a free port the system goes on to choose.
func (s *Service) keepOpsAddr(ctx context.Context) {
	if s.env["OPS_ADDR"] != anyPort {
		return
	}

	if addr, err := FreeAddr(ctx); err == nil {
		s.env["OPS_ADDR"] = addr
	}
}

// OpsAddr is where the present run answers for its operators: the port may be the system's choice, so the log says it.
func (s *Service) OpsAddr() (string, error) {
	log, err := os.Open(s.log)
	if err != nil {
		return "", fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	defer log.Close()

	var addr string

	lines := bufio.NewReader(log)

	for {
		line, err := lines.ReadBytes('\n')

		var entry struct {
			Addr string `json:"ops_addr"`
		}

		if json.Unmarshal(line, &entry) == nil && entry.Addr != "" {
			addr = entry.Addr // of the latest run
		}

		switch {
		case errors.Is(err, io.EOF) && addr == "":
			return "", fmt.Errorf("%s does not say yet where it serves ops", s.Name)
		case errors.Is(err, io.EOF):
			return addr, nil
		case err != nil:
			return "", fmt.Errorf("read the log of %s: %w", s.Name, err)
		}
	}
}

// Scrape is what the service shows to Prometheus; the caller closes it.
func (s *Service) Scrape(ctx context.Context) (io.ReadCloser, error) {
	addr, err := s.OpsAddr()
	if err != nil {
		return nil, err
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", s.Name, err)
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", s.Name, err)
	}

	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("scrape %s: %s", s.Name, response.Status), response.Body.Close())
	}

	return response.Body, nil
}

// Metrics is Scrape, read: families of metrics by name.
func (s *Service) Metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	body, err := s.Scrape(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()

	parser := expfmt.NewTextParser(model.UTF8Validation)

	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of %s: %w", s.Name, err)
	}

	return families, nil
}
