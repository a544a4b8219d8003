package contexts

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/nearest"
)

// lineError is a mistake at a line of the file.
type lineError struct {
	line int
	what string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.what) }

func at(node *yaml.Node, format string, values ...any) error {
	return &lineError{line: node.Line, what: fmt.Sprintf(format, values...)}
}

func (f *File) decode(root *yaml.Node) error {
	return eachPair(root, "the file", func(key, value *yaml.Node) error {
		switch key.Value {
		case "current":
			if value.Kind != yaml.ScalarNode {
				return at(value, "current must be the name of a context")
			}

			f.Current = value.Value

			return nil
		case "contexts":
			return eachPair(value, "contexts", f.decodeContext)
		default:
			return at(key, "%q is unknown here: give current and contexts", key.Value)
		}
	})
}

func (f *File) decodeContext(name, body *yaml.Node) error {
	if err := CheckName(name.Value); err != nil {
		return at(name, "%v", err)
	}

	context := make(Context)
	f.Contexts[name.Value] = context

	return eachPair(body, "context "+name.Value, func(key, value *yaml.Node) error {
		i := slices.IndexFunc(Settings(), func(s Setting) bool { return s.Key == key.Value })
		if i < 0 {
			return at(key, "%q is no setting of a context%s", key.Value, nearest.Question(key.Value, Keys()))
		}

		if value.Kind != yaml.ScalarNode {
			return at(value, "%s must be a text", key.Value)
		}

		if err := Settings()[i].Check(value.Value); err != nil {
			return at(value, "%v", err)
		}

		context[key.Value] = value.Value

		return nil
	})
}

// Keys lists the keys of all settings.
func Keys() []string {
	settings := Settings()

	keys := make([]string, len(settings))
	for i := range settings {
		keys[i] = settings[i].Key
	}

	return keys
}

// eachPair goes through a mapping; an empty node has none. A key that is there twice is refused.
func eachPair(node *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil
	}

	if node.Kind != yaml.MappingNode {
		return at(node, "%s must hold names with values", what)
	}

	seen := make(map[string]bool)

	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if seen[key.Value] {
			return at(key, "%q is there twice", key.Value)
		}

		seen[key.Value] = true

		if err := do(key, node.Content[i+1]); err != nil {
			return err
		}
	}

	return nil
}
