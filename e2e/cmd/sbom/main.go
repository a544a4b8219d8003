// Command sbom writes the software bill of materials of a binary, or of an image that was saved, in SPDX:
//
//	sbom -name listener -version v1.2.3 file:dist/listener dist/listener.spdx.json
//
// syft, which must lie beside this program, finds out what is in it. It dates its documents and numbers them at random, so
// that no two are alike; here the date is SOURCE_DATE_EPOCH, in seconds, and the document's address follows from what is in
// it: who builds the same again has the same document.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// namespace is how the addresses of our documents begin. There need not be anything at an address.
const namespace = "https://github.com/atlas-relay/atlas-relay/sbom/"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)

	err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, epoch string) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	name := flags.String("name", "", "what the document is about")
	version := flags.String("version", "", "its version")

	if err := flags.Parse(args); err != nil {
		return err
	}

	if flags.NArg() != 2 || *name == "" || *version == "" {
		return errors.New("use: sbom -name NAME -version VERSION FROM TO")
	}

	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH=%s: must be the date of the commit, in seconds since 1970", epoch)
	}

	document, err := scan(ctx, *name, *version, flags.Arg(0))
	if err != nil {
		return err
	}

	document, err = settle(document, *name, time.Unix(seconds, 0))
	if err != nil {
		return err
	}

	return os.WriteFile(flags.Arg(1), document, 0o644)
}

// scan has syft make the document.
func scan(ctx context.Context, name, version, from string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find syft: %w", err)
	}

	var messages bytes.Buffer

	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "syft"),
		"scan", from, "--quiet", "--output", "spdx-json", "--source-name", name, "--source-version", version)
	cmd.Env = append(os.Environ(), "SYFT_CHECK_FOR_APP_UPDATE=false")
	cmd.Stderr = &messages

	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("syft scan %s: %w\n%s", from, err, &messages)
	}

	return out, nil
}

// settle replaces what differs from one run of syft to the next.
func settle(document []byte, name string, created time.Time) ([]byte, error) {
	var fields, creation map[string]json.RawMessage

	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}

	if err := json.Unmarshal(fields["creationInfo"], &creation); err != nil {
		return nil, fmt.Errorf("read how the document was made: %w", err)
	}

	var err error

	set := func(into map[string]json.RawMessage, key string, value any) {
		text, failed := json.Marshal(value)
		into[key], err = text, errors.Join(err, failed)
	}

	set(creation, "created", created.UTC().Format(time.RFC3339))
	set(fields, "creationInfo", creation)
	delete(fields, "documentNamespace")

	content, failed := json.Marshal(fields)
	sum := sha256.Sum256(content)

	set(fields, "documentNamespace", namespace+name+"-"+hex.EncodeToString(sum[:]))

	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}

	return json.MarshalIndent(fields, "", " ")
}
