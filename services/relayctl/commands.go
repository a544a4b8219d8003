package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands prints the reference of everything that relayctl can be told.
func (p *program) commands() *cobra.Command {
	return &cobra.Command{
		Use:     "commands",
		Short:   "Print the reference of all commands as Markdown, or JSON",
		Example: "  relayctl commands\n  relayctl commands -o json | jq -r '.commands[].command'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			described := describe(cmd.Root(), nil)
			if p.output == outputJSON {
				return p.printJSON(map[string]any{"commands": described})
			}

			return writeCommands(p.out, described)
		},
	}
}

// description is a command for the reference.
type description struct {
	Command  string     `json:"command"` // with those that it is in
	Usage    string     `json:"usage"`
	Runs     bool       `json:"runs"`  // false: it only has others in it
	About    string     `json:"about"` // may have several paragraphs
	Examples string     `json:"examples"`
	Flags    []flagInfo `json:"flags"` // its own, and those of all commands
}

type flagInfo struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand"`
	Value     string `json:"value"` // its type; empty: the flag takes none
	Optional  bool   `json:"optional"`
	Default   string `json:"default"`
	About     string `json:"about"`
	Common    bool   `json:"common"` // of all commands
	Hidden    bool   `json:"hidden"`
}

// describe walks through the tree, but for what cobra adds by itself.
func describe(cmd *cobra.Command, into []description) []description {
	if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Hidden {
		return into
	}

	d := description{
		Command: cmd.CommandPath(), Usage: cmd.UseLine(), Runs: cmd.Runnable() && !cmd.HasSubCommands(), About: cmp.Or(cmd.Long, cmd.Short), Examples: cmd.Example,
	}

	add := func(common bool) func(*pflag.Flag) {
		return func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}

			kind := f.Value.Type()
			if kind == "bool" {
				kind = ""
			}

			d.Flags = append(d.Flags, flagInfo{
				Name: f.Name, Shorthand: f.Shorthand, Value: kind, Optional: f.NoOptDefVal != "", Default: f.DefValue, About: f.Usage, Common: common, Hidden: f.Hidden,
			})
		}
	}

	cmd.NonInheritedFlags().VisitAll(add(cmd == cmd.Root()))
	cmd.InheritedFlags().VisitAll(add(true))

	into = append(into, d)

	for _, child := range cmd.Commands() {
		into = describe(child, into)
	}

	return into
}

const commandsHead = `# Commands of relayctl

Written by ` + "`make generate`" + ` from the program itself (` + "`relayctl commands`" + `). Where a flag's text ends with a name in capitals,
that variable of the environment sets it, too; the flag wins. What exit codes mean: [ERRORS.md](ERRORS.md).
`

func writeCommands(w io.Writer, all []description) error {
	var text strings.Builder

	text.WriteString(commandsHead)

	for i := range all {
		d := &all[i]

		fmt.Fprintf(&text, "\n## %s\n\n%s\n", d.Command, d.About)

		if d.Runs {
			fmt.Fprintf(&text, "\n```text\n%s\n```\n", d.Usage)
		}

		if d.Examples != "" {
			fmt.Fprintf(&text, "\nExamples:\n\n```sh\n%s\n```\n", unindented(d.Examples))
		}

		writeFlags(&text, d)
	}

	_, err := io.WriteString(w, text.String())

	return err
}

// writeFlags writes a table; the flags of all commands stand with the first one, which has no others.
func writeFlags(text *strings.Builder, d *description) {
	begun := false

	for _, f := range d.Flags {
		if f.Hidden || f.Common && d.Runs {
			continue
		}

		if !begun {
			text.WriteString("\n| flag | default | meaning |\n|---|---|---|\n")

			begun = true
		}

		fmt.Fprintf(text, "| %s | %s | %s |\n", f.shown(), code(f.Default), strings.ReplaceAll(f.About, "|", `\|`))
	}
}

func (f *flagInfo) shown() string {
	shown := "--" + f.Name
	if f.Value != "" {
		shown += " " + strings.ToUpper(f.Value)
	}

	if f.Shorthand != "" {
		shown = "-" + f.Shorthand + ", " + shown
	}

	return code(shown)
}

// code is empty for what says nothing.
func code(text string) string {
	switch text {
	case "", "false", "[]":
		return ""
	default:
		return "`" + text + "`"
	}
}

// unindented makes a block that can be copied: in the help, what stands behind blanks is no part of a command.
func unindented(examples string) string {
	remark := regexp.MustCompile(`(?m)(\S {2,})(\S)`)

	return remark.ReplaceAllString(strings.ReplaceAll(strings.TrimPrefix(examples, "  "), "\n  ", "\n"), "${1}# $2")
}
