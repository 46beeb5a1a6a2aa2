// Package metrics shows what a node counts to Prometheus, in its text format.
//
//  1. Whoever opens a node hands in a function that reads all samples at one moment.
//  2. Handler answers each scrape with them, beside those of the Go runtime and of the
//     process. The rooms count, some of them with Counts; this one spells.
//
// Names follow Prometheus's rules: hark_ first, base units, _total on what only grows.
// No sample carries a key, an id or an address of anybody else's: metrics leave the
// machine, and people show them around.
package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Sample is one figure. Samples of one name have the same help, kind and label names.
type Sample struct {
	Name   string // without the leading hark_
	Help   string
	Grows  bool // a counter; else a gauge
	Value  float64
	Labels []Label // in the same order for all of one name
}

// A Label tells samples of one name apart.
type Label struct{ Name, Value string }

// Gauge makes a sample that goes up and down.
func Gauge(name, help string, value float64, labels ...Label) Sample {
	return Sample{Name: name, Help: help, Value: value, Labels: labels}
}

// Counter makes a sample that only grows while the node runs.
func Counter(name, help string, value float64, labels ...Label) Sample {
	return Sample{Name: name, Help: help, Grows: true, Value: value, Labels: labels}
}

// Bounds of a scrape.
const (
	maxAtOnce = 2
	readWait  = 10 * time.Second
)

// Handler answers scrapes with what read gives. What can't be read is a 500 with the
// reason, never half an answer.
func Handler(read func(context.Context) ([]Sample, error), log *slog.Logger) (http.Handler, error) {
	own := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{read},
	} {
		if err := own.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(own, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), MaxRequestsInFlight: maxAtOnce, Timeout: readWait,
	}), nil
}

// A collector reads all samples at each scrape.
type collector struct {
	read func(context.Context) ([]Sample, error)
}

// Describe implements prometheus.Collector. It tells nothing, because which labels
// there are is known only when they are read.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readWait)
	defer cancel()
	samples, err := c.read(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("hark_read", "what this node counts", nil, nil), err)
		return
	}
	for _, s := range samples {
		names, values := make([]string, len(s.Labels)), make([]string, len(s.Labels))
		for i, l := range s.Labels {
			names[i], values[i] = l.Name, l.Value
		}
		desc := prometheus.NewDesc("hark_"+s.Name, s.Help, names, nil)
		kind := prometheus.GaugeValue
		if s.Grows {
			kind = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(desc, kind, s.Value, values...)
		if err != nil {
			m = prometheus.NewInvalidMetric(desc, err)
		}
		out <- m
	}
}
