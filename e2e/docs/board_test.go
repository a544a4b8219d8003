package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// board is what the tests look at of Grafana's JSON.
type board struct {
	Panels []panel `json:"panels"`

	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`

	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	Links []struct {
		URL string `json:"url"`
	} `json:"links"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func loadBoard(t *testing.T) board {
	t.Helper()

	var b board

	require.NoError(t, json.Unmarshal([]byte(read(t, "deploy", "grafana", "boards", "atlas-relay.json")), &b))
	require.NotEmpty(t, b.Panels)

	return b
}

// chosen puts in what Grafana does where everything is selected.
func chosen(expression string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$flow", ".*", "$instance", ".*").Replace(expression)
}

func boardExpressions(t *testing.T) []expression {
	t.Helper()

	b := loadBoard(t)

	var all []expression

	for _, p := range b.Panels {
		for _, target := range p.Targets {
			all = append(all, expression{fmt.Sprintf("panel %q", p.Title), chosen(target.Expr)})
		}
	}

	for _, a := range b.Annotations.List {
		all = append(all, expression{fmt.Sprintf("annotation %q", a.Name), chosen(a.Expr)})
	}

	for _, v := range b.Templating.List {
		parts := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition)
		require.Len(t, parts, 3, "variable %s: %s", v.Name, v.Definition)
		all = append(all, expression{"variable " + v.Name, fmt.Sprintf("count by (%s) (%s)", parts[2], parts[1])})
	}

	return all
}

// TestBoardReadsWell: every panel says what it shows, reads a data source that is provisioned, and leads to pages that
// exist.
func TestBoardReadsWell(t *testing.T) {
	t.Parallel()

	var provisioned struct {
		Datasources []struct {
			UID string `yaml:"uid"`
		} `yaml:"datasources"`
	}

	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy", "grafana", "provisioning", "datasources", "atlas-relay.yml")), &provisioned))

	var known []string
	for _, source := range provisioned.Datasources {
		known = append(known, source.UID)
	}

	names := map[string]bool{}
	for _, a := range alerts(t) {
		names[runbooks+a.Name+".md"] = true
	}

	titles, ids := map[string]bool{}, map[int]bool{}

	for _, p := range loadBoard(t).Panels {
		require.False(t, titles[p.Title], "two panels %q", p.Title)
		require.False(t, ids[p.ID], "panel %q: its id is another one's", p.Title)
		titles[p.Title], ids[p.ID] = true, true

		if p.Type == "row" {
			continue
		}

		require.NotEmpty(t, p.Description, "panel %q", p.Title)
		require.Contains(t, known, p.Datasource.UID, "panel %q", p.Title)
		require.NotEmpty(t, p.Targets, "panel %q", p.Title)

		for _, link := range p.Links {
			require.Contains(t, names, link.URL, "panel %q", p.Title)
		}
	}
}

// TestBoardIsNeverEmpty: at its first start a flow has nothing to do, so no panel may show only what is above a limit, and
// a quantile of nothing (NaN) has to be 0. Ranges follow the scrapes, else they are empty where those are rare.
func TestBoardIsNeverEmpty(t *testing.T) {
	t.Parallel()

	for _, p := range loadBoard(t).Panels {
		for _, target := range p.Targets {
			for _, window := range regexp.MustCompile(`\[([^\]]+)\]`).FindAllStringSubmatch(target.Expr, -1) {
				require.Equal(t, "$__rate_interval", window[1], "panel %q", p.Title)
			}

			parsed, err := parser.NewParser(parser.Options{}).ParseExpr(chosen(target.Expr))
			require.NoError(t, err, "panel %q", p.Title)

			parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
				switch n := node.(type) {
				case *parser.BinaryExpr:
					require.True(t, !n.Op.IsComparisonOperator() || n.ReturnBool || inOr(path), "panel %q may be empty: %s", p.Title, n)
				case *parser.Call:
					require.True(t, n.Func.Name != "histogram_quantile" || inOr(path), "panel %q may be empty: %s", p.Title, n)
				}

				return nil
			})
		}
	}
}

// inOr tells whether something else stands in for an empty part of the expression.
func inOr(path []parser.Node) bool {
	for _, node := range path {
		if n, ok := node.(*parser.BinaryExpr); ok && n.Op == parser.LOR {
			return true
		}
	}

	return false
}
