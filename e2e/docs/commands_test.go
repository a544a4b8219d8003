package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestCommandsOfThePagesExist reads every command of relayctl and make, in blocks and in lines, of what people copy from.
func TestCommandsOfThePagesExist(t *testing.T) {
	t.Parallel()

	pages := []string{"README.md", "CONTRIBUTING.md", "services/README.md", "proto/README.md", "docker-compose.yml"}

	more, err := filepath.Glob(filepath.Join(root, "deploy", "*.md"))
	require.NoError(t, err)
	runbooks, err := filepath.Glob(filepath.Join(root, "deploy", "runbooks", "*.md"))
	require.NoError(t, err)

	for _, page := range slices.Concat(more, runbooks) {
		relative, err := filepath.Rel(root, page)
		require.NoError(t, err)

		pages = append(pages, relative)
	}

	k := newKnown(t)
	seen := map[string]int{}

	for _, page := range pages {
		for _, words := range commandsOf(read(t, filepath.FromSlash(page))) {
			seen[words[0]]++

			require.NoError(t, k.judge(words), "%s: %s", page, strings.Join(words, " "))
		}
	}

	require.Greater(t, seen["relayctl"], 100, "%v", seen)
	require.Greater(t, seen["make"], 5, "%v", seen)
}

// TestJudgeOfCommands: what the test above would let pass is worth nothing.
func TestJudgeOfCommands(t *testing.T) {
	t.Parallel()

	k := newKnown(t)

	for line, wrong := range map[string]string{
		"relayctl status":         "",
		"relayctl status -o json": "",
		"relayctl flow accept-gap --at now --reason \"a b\" # c": "",
		"relayctl flow init --without-existing":                  "",
		"relayctl dead-letters show NAME":                        "",
		"relayctl --help":                                        "",
		"make demo DEMO_TWO_WAY=1":                               "",
		"X=y make build && bin/relayctl doctor":                  "",
		"docker compose run --rm init status --server stats:1":   "",
		"relayctl flow":                                          "does nothing by itself",
		"relayctl flow initt":                                    "no such command",
		"relayctl stat":                                          "no such command",
		"relayctl status --sever x":                              "no such flag",
		"relayctl status -x":                                     "no such flag",
		"relayctl flow accept-gap --at":                          "no value",
		"relayctl status now":                                    "takes no argument",
		"make demonstrate":                                       "no such target",
		"make demo DEMO_THREE_WAY=1":                             "no such variable",
		"bin/listner":                                            "no such program",
		"docker compose run --rm init stat":                      "no such command",
	} {
		found := commandsOf("```sh\n" + line + "\n```\n")
		require.NotEmpty(t, found, line)

		var err error
		for _, words := range found {
			if err == nil {
				err = k.judge(words)
			}
		}

		if wrong == "" {
			require.NoError(t, err, line)
		} else {
			require.ErrorContains(t, err, wrong, line)
		}
	}

	inLine := commandsOf("Say `relayctl status`, or `docker compose\nrun --rm init flow show`; not `relay` (`make test`).\n")
	require.Equal(t, [][]string{{"relayctl", "status"}, {"relayctl", "flow", "show"}, {"make", "test"}}, inLine)
}

var (
	block  = regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```")
	inline = regexp.MustCompile("`([^`]+)`")
	prompt = regexp.MustCompile(`(?m)^#   (.*docker compose .*)$`) // in the head of the compose file
)

// commandsOf returns the commands that concern us as words, relayctl by that name.
func commandsOf(page string) [][]string {
	var lines []string

	for _, found := range block.FindAllStringSubmatch(page, -1) {
		if found[1] == "sh" {
			lines = append(lines, strings.Split(strings.ReplaceAll(found[2], "\\\n", " "), "\n")...)
		}
	}

	for _, found := range inline.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
		lines = append(lines, strings.Join(strings.Fields(found[1]), " "))
	}

	for _, found := range prompt.FindAllStringSubmatch(page, -1) {
		lines = append(lines, found[1])
	}

	var commands [][]string

	for _, line := range lines {
		for _, words := range simpleCommands(line) {
			if ours := ourCommand(words); ours != nil {
				commands = append(commands, ours)
			}
		}
	}

	return commands
}

// simpleCommands takes a line of a shell apart: quotes hold words together, operators part commands, # ends the line.
func simpleCommands(line string) [][]string {
	var (
		commands [][]string
		words    []string
	)

	token := regexp.MustCompile(`"[^"]*"|'[^']*'|#.*|&&|\|\||[|&;><()]|(?:[^\s"'|&;><()]|"[^"]*"|'[^']*')+`)

	for _, word := range token.FindAllString(line, -1) {
		switch {
		case strings.HasPrefix(word, "#"):
			return append(commands, words)
		case strings.Trim(word, "|&;><()") == "":
			commands, words = append(commands, words), nil
		default:
			words = append(words, word)
		}
	}

	return append(commands, words)
}

var assignment = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

// ourCommand drops variables in front, and finds relayctl where compose runs it; nil for what is not ours.
func ourCommand(words []string) []string {
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}

	if len(words) == 0 {
		return nil
	}

	if at := slices.Index(words, "init"); at > 2 && words[0] == "docker" && words[1] == "compose" && words[2] == "run" {
		return append([]string{"relayctl"}, words[at+1:]...)
	}

	switch name := strings.TrimPrefix(words[0], "bin/"); {
	case name == "relayctl", name == "make":
		return append([]string{name}, words[1:]...)
	case name != words[0] && name != "":
		return []string{"bin", name}
	default:
		return nil
	}
}

// known is what there is: the commands of relayctl, and the text of the Makefile.
type known struct {
	commands map[string]knownCommand
	makefile string
}

type knownCommand struct {
	Command string      `json:"command"`
	Usage   string      `json:"usage"`
	Runs    bool        `json:"runs"`
	Flags   []knownFlag `json:"flags"`
}

type knownFlag struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand"`
	Value     string `json:"value"`
	Optional  bool   `json:"optional"`
}

func newKnown(t *testing.T) *known {
	t.Helper()

	var answer struct {
		Commands []knownCommand `json:"commands"`
	}

	require.NoError(t, json.Unmarshal([]byte(ask(t, harness.Relayctl, "commands", "-o", "json")), &answer))
	require.Greater(t, len(answer.Commands), 15)

	k := &known{commands: map[string]knownCommand{}, makefile: read(t, "Makefile")}
	for _, c := range answer.Commands {
		k.commands[c.Command] = c
	}

	return k
}

// judge says what is wrong with a command line.
func (k *known) judge(words []string) error {
	switch words[0] {
	case "make":
		return k.judgeMake(words[1:])
	case "bin":
		if _, err := os.Stat(filepath.Join(root, "services", words[1])); err != nil {
			return fmt.Errorf("%s: no such program", words[1])
		}

		return nil
	default:
		return k.judgeRelayctl(words)
	}
}

func (k *known) judgeMake(words []string) error {
	for _, word := range words {
		name, _, isVariable := strings.Cut(word, "=")

		switch {
		case isVariable && !regexp.MustCompile(`\b`+name+`\b`).MatchString(k.makefile):
			return fmt.Errorf("%s: no such variable", name)
		case !isVariable && !regexp.MustCompile(`(?m)^(?:[a-z-]+ )*`+regexp.QuoteMeta(word)+`(?: [a-z-]+)*:`).MatchString(k.makefile):
			return fmt.Errorf("%s: no such target", word)
		}
	}

	return nil
}

func (k *known) judgeRelayctl(words []string) error {
	path, rest := words[0], words[1:]

	for len(rest) > 0 {
		if _, ok := k.commands[path+" "+rest[0]]; !ok {
			break
		}

		path, rest = path+" "+rest[0], rest[1:]
	}

	c := k.commands[path]

	arguments, err := c.arguments(rest)

	switch {
	case err != nil:
		return err
	case slices.Contains(rest, "--help"):
		return nil
	case !c.Runs && len(arguments) > 0:
		return fmt.Errorf("%s %s: no such command", path, arguments[0])
	case !c.Runs && path != "relayctl":
		return fmt.Errorf("%s does nothing by itself", path)
	case len(arguments) > 0 && !regexp.MustCompile(`\b[A-Z]{2,}\b`).MatchString(c.Usage):
		return fmt.Errorf("%s takes no argument, not %s", path, arguments[0])
	default:
		return nil
	}
}

// arguments are the words that are neither flags nor their values.
func (c *knownCommand) arguments(words []string) (arguments []string, err error) {
	for i := 0; i < len(words); i++ {
		word := words[i]

		if word == "--help" || !strings.HasPrefix(word, "-") {
			if word != "--help" {
				arguments = append(arguments, word)
			}

			continue
		}

		name, _, hasValue := strings.Cut(word, "=")

		at := slices.IndexFunc(c.Flags, func(f knownFlag) bool {
			return name == "--"+f.Name || f.Shorthand != "" && name == "-"+f.Shorthand
		})
		if at < 0 {
			return nil, fmt.Errorf("%s %s: no such flag", c.Command, name)
		}

		if f := c.Flags[at]; f.Value == "" || f.Optional || hasValue {
			continue
		}

		if i++; i == len(words) {
			return nil, fmt.Errorf("%s %s: no value", c.Command, name)
		}
	}

	return arguments, nil
}
