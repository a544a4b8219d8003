package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sumsFile is in the form that sha256sum --check reads.
const sumsFile = "SHA256SUMS"

// published are the endings of the files that a release consists of, beside the checksums.
var published = []string{".tar.gz", ".spdx.json"} //nolint:gochecknoglobals // a constant list

// checkSums reads every file that has a checksum again, and finds files without.
func (r *release) checkSums() error {
	content, err := os.ReadFile(filepath.Join(r.dir, sumsFile))
	if err != nil {
		return err
	}

	sums := map[string]string{}

	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return fmt.Errorf("%s: what does %q mean?", sumsFile, line)
		}

		sums[fields[1]] = fields[0]
	}

	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}

	var errs []error

	for _, entry := range entries {
		ends := func(ending string) bool { return strings.HasSuffix(entry.Name(), ending) }
		if _, summed := sums[entry.Name()]; !summed && slices.ContainsFunc(published, ends) {
			errs = append(errs, fmt.Errorf("%s has no checksum", entry.Name()))
		}
	}

	for name, sum := range sums {
		switch is, err := digest(filepath.Join(r.dir, name)); {
		case err != nil:
			errs = append(errs, err)
		case is != sum:
			errs = append(errs, fmt.Errorf("%s: its checksum is %s, not %s", name, is, sum))
		}
	}

	return errors.Join(errs...)
}

// addSums writes the checksums of more files behind those that are there.
func (r *release) addSums(names ...string) error {
	file, err := os.OpenFile(filepath.Join(r.dir, sumsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}

	for _, name := range names {
		sum, failed := digest(filepath.Join(r.dir, name))
		if failed == nil {
			_, failed = fmt.Fprintf(file, "%s  %s\n", sum, name)
		}

		err = errors.Join(err, failed)
	}

	return errors.Join(err, file.Close())
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()

	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}

	return hex.EncodeToString(hash.Sum(nil)), nil
}
