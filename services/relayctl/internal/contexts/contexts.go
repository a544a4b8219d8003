// Package contexts keeps under a name what relayctl is told of a place: addresses, the flow, and paths of files. It holds
// no secret, only where one is read from.
package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Setting is what a context may hold.
type Setting struct {
	Key      string // in the file, and the flag of context add
	Variable string // that it stands for
	Help     string
	IsPath   bool
	Beside   []string // variables that say the same: where one of them is set, the context's own is not used
}

// Settings lists them in the order in which they are shown.
func Settings() []Setting {
	path := func(key, variable, help string, beside ...string) Setting {
		return Setting{Key: key, Variable: variable, Help: help, IsPath: true, Beside: beside}
	}

	return []Setting{
		{Key: "server", Variable: "RELAY_STATS_ADDR", Help: "address of the stats service"},
		{Key: "flow", Variable: "FLOW", Help: "name of the flow"},
		path("token-file", "API_TOKEN_FILE", "file of the token for the stats service", "API_TOKEN"),
		path("ca", "STATS_CA", "PEM bundle that signs the certificate of the stats service"),
		path("cert", "STATS_CERT", "own PEM certificate for the stats service"),
		path("key", "STATS_KEY", "PEM key of cert"),
		{Key: "server-name", Variable: "STATS_SERVER_NAME", Help: "name in the certificate of the stats service, where that is not its address"},
		{Key: "nats-url", Variable: "NATS_URL", Help: "servers of NATS, comma list, without passwords", Beside: []string{"NATS_URL_FILE"}},
		path("nats-url-file", "NATS_URL_FILE", "file of NATS_URL", "NATS_URL"),
		path("nats-creds", "NATS_CREDS", "credentials file for NATS"),
		path("nats-ca", "NATS_CA", "PEM bundle that signs the certificate of NATS"),
		path("nats-cert", "NATS_CERT", "own PEM certificate for NATS"),
		path("nats-key", "NATS_KEY", "PEM key of nats-cert"),
		path("source-uri-file", "SOURCE_URI_FILE", "file of SOURCE_URI", "SOURCE_URI"),
		path("target-uri-file", "TARGET_URI_FILE", "file of TARGET_URI", "TARGET_URI"),
	}
}

// Context is the settings of one place by their keys.
type Context map[string]string

// File is all contexts of a user.
type File struct {
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts"`
}

// Error is a file or a setting that no waiting makes right.
type Error struct{ What, Next string }

func (e *Error) Error() string { return e.What }

// NextStep is what a person should do.
func (e *Error) NextStep() string { return e.Next }

// ExitCode is that of input that is refused.
func (*Error) ExitCode() int { return 2 }

// Path is where the file belongs by the rules of XDG.
func Path(environ map[string]string) (string, error) {
	home := environ["XDG_CONFIG_HOME"]
	if home == "" && environ["HOME"] != "" {
		home = filepath.Join(environ["HOME"], ".config")
	}

	if home == "" {
		return "", &Error{What: "neither XDG_CONFIG_HOME nor HOME says where the contexts are", Next: "set one of them"}
	}

	return filepath.Join(home, "atlas-relay", "contexts.yaml"), nil
}

// Load reads the file; one that is not there has no contexts. It returns an Error that names the line.
func Load(path string) (*File, error) {
	f := &File{Contexts: make(map[string]Context)}

	content, err := os.ReadFile(path) //nolint:gosec // who runs the program names its files
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}

	if err != nil {
		return nil, &Error{What: fmt.Sprintf("read the contexts: %v", err), Next: "check the file's permissions"}
	}

	mend := "mend that line, or move the file away and add the contexts again: relayctl context add"

	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, &Error{What: path + ": " + strings.TrimPrefix(err.Error(), "yaml: "), Next: mend}
	}

	if len(document.Content) == 0 {
		return f, nil // empty, or nothing but comments
	}

	if err := f.decode(document.Content[0]); err != nil {
		return nil, &Error{What: path + ": " + err.Error(), Next: mend}
	}

	return f, nil
}

// Save writes the file for its owner only, whole or not at all.
func (f *File) Save(path string) error {
	var text bytes.Buffer

	text.WriteString("# Written by relayctl context. It holds no secrets, only where they are read from.\n")

	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)

	if err := errors.Join(encoder.Encode(f), encoder.Close()); err != nil {
		return fmt.Errorf("encode the contexts: %w", err)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the contexts: %w", err)
	}

	written, err := os.CreateTemp(filepath.Dir(path), ".contexts-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write the contexts: %w", err)
	}

	_, err = written.Write(text.Bytes())
	if err = errors.Join(err, written.Sync(), written.Close()); err == nil {
		err = os.Rename(written.Name(), path)
	}

	if err != nil {
		_ = os.Remove(written.Name())

		return fmt.Errorf("write the contexts: %w", err)
	}

	return nil
}

// Names lists the contexts.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.Contexts)) }

// Fill adds the variables of the context to an environment; what that says already wins.
func (c Context) Fill(environ map[string]string) {
	given := maps.Clone(environ)

	for _, s := range Settings() {
		if value, found := c[s.Key]; found && s.Overridden(given) == "" {
			environ[s.Variable] = value
		}
	}
}

// Overridden names the variable of the environment that wins over the setting; empty when none does.
func (s *Setting) Overridden(environ map[string]string) string {
	for _, variable := range append([]string{s.Variable}, s.Beside...) {
		if environ[variable] != "" {
			return variable
		}
	}

	return ""
}

// CheckName refuses what would be hard to type.
func CheckName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(name) {
		return fmt.Errorf("%q is no name of a context: 1 to 64 letters, digits, dots, - and _", name)
	}

	return nil
}

// Check refuses a value that does not belong into a context.
func (s *Setting) Check(value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is empty", s.Key)
	case !s.IsPath && strings.Contains(value, "@"):
		return fmt.Errorf("%s holds a user or a password, and a context holds no secret: put it into a file and give its path", s.Key)
	case s.IsPath && !filepath.IsAbs(value):
		return fmt.Errorf("%s %q is no absolute path", s.Key, value)
	default:
		return nil
	}
}
