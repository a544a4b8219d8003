package docs_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const apiHead = `# API

Written by ` + "`make generate`" + ` from the comments in [proto/relay/v1](../proto/README.md). gRPC, package ` + "`relay.v1`" + `, on
` + "`GRPC_ADDR`" + `; the same as JSON over HTTP on ` + "`HTTP_ADDR`" + `, with the names of the fields as they are here, and described for programs
in ` + "`/openapi.json`" + `. Who may ask: [ADR 19](adr/0019-access.md), [ADR 24](adr/0024-trust.md). What errors mean:
[ERRORS.md](ERRORS.md).

` + "`optional`" + ` numbers are absent where they are unknown, which is not 0. Beside ` + "`relay.v1`" + ` there are gRPC health and reflection, and
` + "`/v1/flows/{flow}/events`" + `: WatchStats as server-sent events.
`

// TestAPIReference: deploy/API.md has what a client may ask, in the words of the protos.
func TestAPIReference(t *testing.T) {
	t.Parallel()

	a := &apiPage{paths: httpPaths(t)}
	a.WriteString(apiHead)

	for _, service := range services(t) {
		a.service(service)
	}

	a.WriteString("\n# Messages\n")

	// What a message needs is added while it is written.
	for i := 0; i < len(a.messages); {
		slices.SortFunc(a.messages[i:], func(x, y protoreflect.Descriptor) int { return strings.Compare(string(x.Name()), string(y.Name())) })
		a.message(a.messages[i])
		i++
	}

	require.Empty(t, a.bare, "without a comment")
	requirePage(t, "API.md", a.String())
}

// services are all of the package, by name.
func services(t *testing.T) []protoreflect.ServiceDescriptor {
	t.Helper()

	files, err := filepath.Glob(filepath.Join(root, "proto", "relay", "v1", "*.proto"))
	require.NoError(t, err)

	for i, file := range files {
		files[i] = "relay/v1/" + filepath.Base(file)
	}

	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Join(root, "proto")}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}

	compiled, err := compiler.Compile(context.WithoutCancel(t.Context()), files...)
	require.NoError(t, err)

	var all []protoreflect.ServiceDescriptor

	for _, file := range compiled {
		for i := range file.Services().Len() {
			all = append(all, file.Services().Get(i))
		}
	}

	slices.SortFunc(all, func(a, b protoreflect.ServiceDescriptor) int {
		return strings.Compare(string(b.Name()), string(a.Name()))
	}) // statistics first

	return all
}

// httpPaths are where the methods are over HTTP, by full name.
func httpPaths(t *testing.T) map[string][]string {
	t.Helper()

	type binding struct {
		Get        string    `yaml:"get"`
		Post       string    `yaml:"post"`
		Selector   string    `yaml:"selector"`
		Additional []binding `yaml:"additional_bindings"`
	}

	var file struct {
		HTTP struct {
			Rules []binding `yaml:"rules"`
		} `yaml:"http"`
	}

	require.NoError(t, yaml.Unmarshal([]byte(read(t, "proto", "relay", "v1", "http.yaml")), &file))

	paths := map[string][]string{}

	for _, rule := range file.HTTP.Rules {
		for _, b := range append([]binding{rule}, rule.Additional...) {
			if b.Get != "" {
				paths[rule.Selector] = append(paths[rule.Selector], "GET "+b.Get)
			}

			if b.Post != "" {
				paths[rule.Selector] = append(paths[rule.Selector], "POST "+b.Post)
			}
		}
	}

	require.NotEmpty(t, paths)

	return paths
}

// apiPage is the page as far as it is written.
type apiPage struct {
	strings.Builder

	paths    map[string][]string
	messages []protoreflect.Descriptor // that were named, enums too
	bare     []string                  // what has no comment
}

// comment is what stands above a declaration, on one line where it is for a cell.
func (a *apiPage) comment(d protoreflect.Descriptor, cell bool) string {
	text := strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments)
	if text == "" {
		a.bare = append(a.bare, string(d.FullName()))
	}

	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], " ")
	}

	if cell {
		return strings.ReplaceAll(strings.Join(strings.Fields(strings.Join(lines, " ")), " "), "|", `\|`)
	}

	return strings.Join(lines, "\n")
}

func (a *apiPage) service(s protoreflect.ServiceDescriptor) {
	fmt.Fprintf(a, "\n# %s\n\n%s\n\n| method | HTTP | meaning |\n|---|---|---|\n", s.Name(), a.comment(s, false))

	for i := range s.Methods().Len() {
		method := s.Methods().Get(i)
		answer := a.link(method.Output())

		if method.IsStreamingServer() {
			answer = "stream of " + answer
		}

		paths := a.paths[string(method.FullName())]
		for i, path := range paths {
			paths[i] = "`" + path + "`"
		}

		fmt.Fprintf(a, "| `%s` | %s | %s<br>%s → %s |\n", method.Name(), strings.Join(paths, "<br>"), a.comment(method, true), a.link(method.Input()), answer)
	}
}

// link names a type, and has it written if it is ours.
func (a *apiPage) link(d protoreflect.Descriptor) string {
	if d.ParentFile().Package() != "relay.v1" {
		return "`" + string(d.FullName()) + "`"
	}

	if !slices.ContainsFunc(a.messages, func(known protoreflect.Descriptor) bool { return known.FullName() == d.FullName() }) {
		a.messages = append(a.messages, d)
	}

	return fmt.Sprintf("[%s](#%s)", d.Name(), strings.ToLower(string(d.Name())))
}

func (a *apiPage) message(d protoreflect.Descriptor) {
	fmt.Fprintf(a, "\n## %s\n\n%s\n", d.Name(), a.comment(d, false))

	switch d := d.(type) {
	case protoreflect.EnumDescriptor:
		a.WriteString("\n| value | meaning |\n|---|---|\n")

		for i := range d.Values().Len() {
			value := d.Values().Get(i)
			fmt.Fprintf(a, "| `%s` | %s |\n", value.Name(), a.comment(value, true))
		}
	case protoreflect.MessageDescriptor:
		if d.Fields().Len() == 0 {
			return
		}

		a.WriteString("\n| field | type | meaning |\n|---|---|---|\n")

		for i := range d.Fields().Len() {
			field := d.Fields().Get(i)
			fmt.Fprintf(a, "| `%s` | %s | %s |\n", field.Name(), a.typeOf(field), a.comment(field, true))
		}
	}
}

func (a *apiPage) typeOf(field protoreflect.FieldDescriptor) string {
	if field.IsMap() {
		return "map of " + a.typeOf(field.MapKey()) + " to " + a.typeOf(field.MapValue())
	}

	var of string

	switch field.Kind() {
	case protoreflect.MessageKind:
		of = a.link(field.Message())
	case protoreflect.EnumKind:
		of = a.link(field.Enum())
	default:
		of = field.Kind().String()
	}

	switch {
	case field.IsList():
		return "repeated " + of
	case field.ContainingOneof() != nil && !field.ContainingOneof().IsSynthetic():
		return of + ", one of `" + string(field.ContainingOneof().Name()) + "`"
	case field.HasOptionalKeyword():
		return "optional " + of
	default:
		return of
	}
}
