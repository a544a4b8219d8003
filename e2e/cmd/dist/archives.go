package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// beside is what an archive holds beside its programs.
func beside() []string {
	all := []string{
		"LICENSE", "README.md", "CHANGELOG.md", "doc/COMMANDS.md", "doc/SETTINGS.md", "doc/METRICS.md",
		"man/man1/relayctl.1", "man/man1/relayctl-flow-init.1",
	}

	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		all = append(all, "completions/relayctl."+shell)
	}

	return all
}

// checkArchive looks at the archive of a platform, at the programs in it, and at their SBOMs.
func (r *release) checkArchive(ctx context.Context, p platform) error {
	path, err := r.file("atlas-relay_*_" + p.String() + ".tar.gz")
	if err != nil {
		return err
	}

	programs, names, err := r.open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}

	errs := []error{inOrder(names, r.programs)}

	for _, name := range beside() {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("there is no %s", name))
		}
	}

	for _, name := range r.programs {
		content, found := programs[name]
		if !found {
			errs = append(errs, fmt.Errorf("there is no program %s", name))
			continue
		}

		if err := r.checkBinary(ctx, content, name, p); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}

		if err := r.checkBill(name+"_*_"+p.String()+".spdx.json", content); err != nil {
			errs = append(errs, err)
		}
	}

	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}

	return nil
}

// inOrder tells whether an archive has its programs in this order. GoReleaser packs them as it has built them: several at a
// time it is another order each time, and another checksum.
func inOrder(names, programs []string) error {
	packed := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(programs, name) })
	place := func(program string) int { return slices.Index(programs, program) }

	if slices.IsSortedFunc(packed, func(a, b string) int { return place(a) - place(b) }) {
		return nil
	}

	return fmt.Errorf("its programs are packed in the order %v, not %v: whoever builds it again has other bytes", packed, programs)
}

// open reads an archive: the programs, and the names of all files without the directory they are in.
func (r *release) open(path string) (programs map[string][]byte, names []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()

	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, nil, err
	}

	programs = map[string][]byte{}

	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return programs, names, nil
		}

		if err != nil {
			return nil, nil, err
		}

		dir, name, _ := strings.Cut(header.Name, "/")
		if dir != strings.TrimSuffix(filepath.Base(path), ".tar.gz") {
			return nil, nil, fmt.Errorf("%s would be unpacked beside the directory of the archive", header.Name)
		}

		names = append(names, name)

		if !slices.Contains(r.programs, name) {
			continue
		}

		if header.FileInfo().Mode().Perm() != 0o755 {
			return nil, nil, fmt.Errorf("%s: its mode is %v, not that of a program", name, header.FileInfo().Mode())
		}

		if programs[name], err = io.ReadAll(files); err != nil {
			return nil, nil, err
		}
	}
}
