package tlsfiles

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// descs are of the metrics of one file. The setting is a constant label, so that a process may have several stores.
type descs struct{ expiry, due, rejected *prometheus.Desc }

func descsOf(setting string) descs {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, nil, prometheus.Labels{"setting": setting})
	}

	return descs{
		expiry: desc("relay_certificate_expiry_timestamp_seconds",
			"When the certificates of the file that this setting names expire, as seconds since 1970."),
		due: desc("relay_certificate_renewal_due",
			"1 once the file should have been renewed: 30 days before its end, or with a quarter of its life left where that is less."),
		rejected: desc("relay_certificate_rejected",
			"1 while the file, or one that belongs to it, has changed and cannot be used, and those from before are used on."),
	}
}

func (f Files) given() []string {
	var settings []string

	for _, file := range []File{f.Cert, f.CA} {
		if file.Path != "" {
			settings = append(settings, file.Setting)
		}
	}

	return settings
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	for _, setting := range s.files.given() {
		d := descsOf(setting)
		ch <- d.expiry
		ch <- d.due
		ch <- d.rejected
	}
}

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()

	for _, e := range s.now.Load().ends {
		d := descsOf(e.setting)
		ch <- prometheus.MustNewConstMetric(d.expiry, prometheus.GaugeValue, float64(e.after.Unix()))
		ch <- prometheus.MustNewConstMetric(d.due, prometheus.GaugeValue, gauge(now.After(e.due())))
		ch <- prometheus.MustNewConstMetric(d.rejected, prometheus.GaugeValue, gauge(s.rejected.Load()))
	}
}

func gauge(holds bool) float64 {
	if holds {
		return 1
	}

	return 0
}
