package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the path under which the programs lie.
const module = "github.com/atlas-relay/atlas-relay/services/"

// checkBinary makes sure that a program is the one that it should be, for its platform, needs nothing of the system, and
// tells its version and nothing of where it was built.
func (r *release) checkBinary(ctx context.Context, content []byte, name string, p platform) error {
	if err := checkFormat(content, p); err != nil {
		return err
	}

	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return err
	}

	if info.Path != module+name {
		return fmt.Errorf("this is %s", info.Path)
	}

	is := map[string]string{}
	for _, setting := range info.Settings {
		is[setting.Key] = setting.Value
	}

	for key, want := range map[string]string{"GOOS": p.os, "GOARCH": p.arch, "CGO_ENABLED": "0", "-trimpath": "true", "vcs.time": ""} {
		if is[key] != want {
			return fmt.Errorf("it was built with %s=%s, not %s", key, is[key], want)
		}
	}

	if bytes.Contains(content, []byte(filepath.Join(r.tree, "services")+"/")) {
		return fmt.Errorf("it tells that it was built in %s", r.tree)
	}

	if !p.here() {
		if !bytes.Contains(content, []byte(r.version)) {
			return fmt.Errorf("it does not know that its version is %s", r.version)
		}

		return nil
	}

	return r.checkVersion(ctx, content, name)
}

// checkFormat reads the header, as file(1) does.
func checkFormat(content []byte, p platform) error {
	if p.os == "darwin" {
		file, err := macho.NewFile(bytes.NewReader(content))
		if err != nil {
			return err
		}

		if want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[p.arch]; file.Cpu != want {
			return fmt.Errorf("it is for %v, not %v", file.Cpu, want)
		}

		return nil
	}

	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return err
	}

	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[p.arch]; file.Machine != want {
		return fmt.Errorf("it is for %v, not %v", file.Machine, want)
	}

	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("it needs shared libraries")
		}
	}

	return nil
}

// checkVersion runs the program.
func (r *release) checkVersion(ctx context.Context, content []byte, name string) (err error) {
	dir, err := os.MkdirTemp("", "atlas-relay-dist-*")
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o700); err != nil {
		return err
	}

	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask for its version: %w\n%s", err, out)
	}

	if is, want := strings.TrimSpace(string(out)), name+" "+r.version; is != want {
		return fmt.Errorf("it says that it is %q, not %q", is, want)
	}

	return nil
}
