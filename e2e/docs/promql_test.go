package docs_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// ofPrometheus are series that Prometheus makes itself.
var ofPrometheus = map[string][]string{
	"up":     {"job", "instance"},
	"ALERTS": {"alertname", "alertstate", "severity", "flow"},
}

// judge says what an expression asks for that no service shows: metrics, labels, values of labels. An expression that is
// none is an error.
func (s series) judge(expression string) (missing []string, err error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}

	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			missing = append(missing, s.judgeSelector(n)...)
		case *parser.AggregateExpr:
			if !n.Without {
				missing = append(missing, s.judgeGrouping(n.Expr, n.Grouping)...)
			}
		case *parser.BinaryExpr:
			if n.VectorMatching != nil && n.VectorMatching.On {
				missing = append(missing, s.judgeGrouping(n, n.VectorMatching.MatchingLabels)...)
			}
		}

		return nil
	})

	return missing, nil
}

// judgeSelector finds a metric that does not exist, or not with labels that the selector's matchers hold for.
func (s series) judgeSelector(n *parser.VectorSelector) []string {
	if known, ok := ofPrometheus[n.Name]; ok {
		return slices.DeleteFunc(labelNames(n.LabelMatchers), func(name string) bool { return slices.Contains(known, name) })
	}

	if len(s[n.Name]) == 0 {
		return []string{n.Name}
	}

	conditions := map[string]func(string) bool{}

	for _, m := range n.LabelMatchers {
		if m.Name == model.MetricNameLabel || m.Name == "instance" {
			continue
		}

		if !slices.Contains(s.labels(n.Name), m.Name) {
			return []string{n.Name + " has no label " + m.Name}
		}

		conditions[m.Name] = m.Matches
	}

	if !s.has(n.Name, conditions) {
		return []string{n.String()}
	}

	return alternatives(s, n, conditions)
}

// alternatives finds values of a=~"x|y" that no series has.
func alternatives(s series, n *parser.VectorSelector, conditions map[string]func(string) bool) []string {
	var missing []string

	for _, m := range n.LabelMatchers {
		if m.Type != labels.MatchRegexp || m.Name == "instance" {
			continue
		}

		before := conditions[m.Name]

		for _, want := range m.SetMatches() {
			conditions[m.Name] = func(value string) bool { return value == want }
			if !s.has(n.Name, conditions) {
				missing = append(missing, fmt.Sprintf("%s{%s=%q}", n.Name, m.Name, want))
			}
		}

		conditions[m.Name] = before
	}

	return missing
}

// judgeGrouping finds labels that nothing inside the expression has.
func (s series) judgeGrouping(inside parser.Node, grouping []string) []string {
	var known []string

	parser.Inspect(inside, func(node parser.Node, _ []parser.Node) error {
		if n, ok := node.(*parser.VectorSelector); ok {
			known = slices.Concat(known, s.labels(n.Name), ofPrometheus[n.Name])
		}

		return nil
	})

	var missing []string

	for _, name := range grouping {
		if !slices.Contains(known, name) {
			missing = append(missing, "the label "+name+" in "+strings.TrimSpace(inside.String()))
		}
	}

	return missing
}

func labelNames(matchers []*labels.Matcher) []string {
	var names []string

	for _, m := range matchers {
		if m.Name != model.MetricNameLabel {
			names = append(names, m.Name)
		}
	}

	return names
}
