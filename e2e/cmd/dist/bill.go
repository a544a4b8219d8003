package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bill is what is looked at of an SBOM in SPDX.
type bill struct {
	Version   string `json:"spdxVersion"`
	Namespace string `json:"documentNamespace"`
	Packages  []struct {
		Name    string `json:"name"`
		Version string `json:"versionInfo"`
	} `json:"packages"`
}

// checkBill makes sure that an SBOM names the version, and every module of others that the linker put into the program.
func (r *release) checkBill(pattern string, program []byte) error {
	path, err := r.file(pattern)
	if err != nil {
		return err
	}

	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}

	var b bill
	if err := json.Unmarshal(content, &b); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}

	if !strings.HasPrefix(b.Version, "SPDX-2.") || b.Namespace == "" {
		return fmt.Errorf("%s is no SPDX document", filepath.Base(path))
	}

	type pkg struct{ name, version string }

	named, versions := map[pkg]bool{}, map[string]bool{}
	for _, p := range b.Packages {
		named[pkg{p.Name, p.Version}], versions[p.Version] = true, true
	}

	if !versions[r.version] {
		return fmt.Errorf("%s does not name the version %s", filepath.Base(path), r.version)
	}

	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return err
	}

	for _, d := range info.Deps {
		if d.Replace != nil { // our own, by the path of its directory
			continue
		}

		if !named[pkg{d.Path, d.Version}] {
			return fmt.Errorf("%s does not name %s %s", filepath.Base(path), d.Path, d.Version)
		}
	}

	return nil
}
