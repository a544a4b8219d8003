package standins

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// rootfs is the files of an image.
type rootfs struct {
	files map[string]string // path inside, without the leading slash: file or directory of this host, links followed
	links map[string]string // path inside: what it leads to
	dirs  []string          // empty ones
}

// load makes an image: config are lines of a Dockerfile that docker import knows.
func load(ctx context.Context, docker *harness.Docker, files rootfs, config []string, name string) error {
	args := []string{"import"}
	for _, line := range config {
		args = append(args, "--change", line)
	}

	reader, writer := io.Pipe()
	written := make(chan error, 1)

	go func() {
		err := files.write(writer)
		_ = writer.CloseWithError(err)
		written <- err
	}()

	_, err := docker.Feed(ctx, reader, append(args, "-", name)...)
	_ = reader.Close()

	return errors.Join(err, <-written)
}

func (r rootfs) write(to io.Writer) error {
	w := tar.NewWriter(to)

	for _, dir := range r.dirs {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o1777}); err != nil {
			return err
		}
	}

	for _, inside := range slices.Sorted(maps.Keys(r.files)) {
		if err := add(w, inside, r.files[inside]); err != nil {
			return fmt.Errorf("pack %s: %w", r.files[inside], err)
		}
	}

	for _, inside := range slices.Sorted(maps.Keys(r.links)) {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: inside, Linkname: r.links[inside], Mode: 0o777}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
	}

	return w.Close()
}

// add packs a file, or everything below a directory.
func add(w *tar.Writer, inside, outside string) error {
	outside, err := filepath.EvalSymlinks(outside)
	if err != nil {
		return err
	}

	return filepath.WalkDir(outside, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		below, err := filepath.Rel(outside, file)
		if err != nil {
			return err
		}

		info, err := os.Stat(file)
		if err != nil {
			return err
		}

		header := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(inside, filepath.ToSlash(below)), Mode: int64(info.Mode().Perm()), Size: info.Size()}
		if err := w.WriteHeader(header); err != nil {
			return err
		}

		content, err := os.Open(file)
		if err != nil {
			return err
		}
		defer content.Close()

		_, err = io.Copy(w, content)

		return err
	})
}

// withLibraries adds a program and the shared libraries that it loads, if any, where the loader looks for them.
func (r rootfs) withLibraries(ctx context.Context, inside, program string) error {
	r.files[inside] = program

	loaded, err := hasLoader(program)
	if err != nil || !loaded { // ldd takes a program without libraries for a mistake
		return err
	}

	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return fmt.Errorf("list the libraries of %s: %w", program, err)
	}

	for field := range strings.FieldsSeq(string(out)) {
		if inside, absolute := strings.CutPrefix(field, "/"); absolute {
			r.files[inside] = field
		}
	}

	return nil
}

// hasLoader tells whether a program names a loader, which brings its shared libraries.
func hasLoader(program string) (bool, error) {
	file, err := elf.Open(program)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", program, err)
	}
	defer file.Close()

	return slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}

// withBusybox adds a shell and the few programs beside it that images on Alpine have.
func (r rootfs) withBusybox(applets ...string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return errors.New("no busybox: apt-get install busybox-static")
	}

	r.files["bin/busybox"] = busybox

	for _, applet := range applets {
		r.links["bin/"+applet] = "/bin/busybox"
	}

	return nil
}
