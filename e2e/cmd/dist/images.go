package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imagesFile holds all images, for docker load.
const imagesFile = "images.tar.gz"

// mostImage is how large the content of an image may be, in bytes.
const mostImage = 25_000_000

// certificates is the only file of an image beside the program.
const certificates = "etc/ssl/certs/ca-certificates.crt"

func imageName(service string) string { return "atlas-relay/" + service }

// saveImages writes the images of a Docker engine, and an SBOM of each, and their checksums.
func (r *release) saveImages(ctx context.Context, sbom string, services []string) error {
	var names, files []string

	for _, service := range services {
		names = append(names, imageName(service))

		file, err := r.saveBill(ctx, sbom, service)
		if err != nil {
			return err
		}

		files = append(files, file)
	}

	if err := r.save(ctx, names); err != nil {
		return fmt.Errorf("save the images: %w", err)
	}

	return r.addSums(append(files, imagesFile)...)
}

// saveBill writes the SBOM of one image: syft reads archives of a single one.
func (r *release) saveBill(ctx context.Context, sbom, service string) (file string, err error) {
	dir, err := os.MkdirTemp("", "atlas-relay-dist-*")
	if err != nil {
		return "", err
	}

	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	archive := filepath.Join(dir, "image.tar")
	if err := command(ctx, "docker", "image", "save", "--output", archive, imageName(service)); err != nil {
		return "", err
	}

	file = service + "_" + strings.TrimPrefix(r.version, "v") + "_image.spdx.json"

	return file, command(ctx, sbom, "-name", imageName(service), "-version", r.version, "docker-archive:"+archive, filepath.Join(r.dir, file))
}

func (r *release) save(ctx context.Context, names []string) (err error) {
	file, err := os.Create(filepath.Join(r.dir, imagesFile))
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, file.Close()) }()

	zipped := gzip.NewWriter(file)

	cmd := exec.CommandContext(ctx, "docker", append([]string{"image", "save"}, names...)...)
	cmd.Stdout, cmd.Stderr = zipped, os.Stderr

	return errors.Join(cmd.Run(), zipped.Close())
}

func command(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}

	return nil
}

// checkImage makes sure that an image is its program and certificates, small, for a user without rights, and says what it is.
func (r *release) checkImage(ctx context.Context, service string) error {
	image, err := r.image(service)
	if err != nil {
		return fmt.Errorf("image of %s: %w", service, err)
	}

	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("image of %s: %w", service, err)
	}

	errs := []error{r.checkConfig(config, service)}

	program, err := openImage(image)
	if err == nil {
		err = errors.Join(
			r.checkBinary(ctx, program, service, platform{config.OS, config.Architecture}),
			r.checkBill(service+"_*_image.spdx.json", program),
		)
	}

	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("image of %s: %w", service, err)
	}

	return nil
}

// image is one of those that were saved.
func (r *release) image(service string) (v1.Image, error) {
	tag, err := name.NewTag(imageName(service))
	if err != nil {
		return nil, err
	}

	return tarball.Image(func() (io.ReadCloser, error) {
		file, err := os.Open(filepath.Join(r.dir, imagesFile))
		if err != nil {
			return nil, err
		}

		content, err := gzip.NewReader(file)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}

		return both{content, file}, nil
	}, &tag)
}

// both reads from the one and closes the other.
type both struct {
	io.Reader
	io.Closer
}

func (r *release) checkConfig(file *v1.ConfigFile, service string) error {
	var errs []error

	config := file.Config

	user, _, _ := strings.Cut(config.User, ":")
	if id, err := strconv.Atoi(user); err != nil || id == 0 {
		errs = append(errs, fmt.Errorf("its user is %q: Kubernetes asks for a number that is not 0", config.User))
	}

	if !slices.Equal(config.Entrypoint, []string{"/service"}) || len(config.Cmd) > 0 {
		errs = append(errs, fmt.Errorf("it starts %q %q", config.Entrypoint, config.Cmd))
	}

	for label, want := range map[string]string{
		"title": "Atlas Relay: " + service, "version": r.version, "revision": r.revision,
		"source": "https://github.com/atlas-relay/atlas-relay", "licenses": "Apache-2.0",
	} {
		if is := config.Labels["org.opencontainers.image."+label]; is != want {
			errs = append(errs, fmt.Errorf("its label %s is %q, not %q", label, is, want))
		}
	}

	return errors.Join(errs...)
}

// openImage returns the program, and refuses files that nobody needs, such as a shell.
func openImage(image v1.Image) (program []byte, err error) {
	content := mutate.Extract(image)
	defer content.Close()

	var (
		names []string
		bytes int64
	)

	for files := tar.NewReader(content); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return nil, err
		}

		if header.Typeflag == tar.TypeDir {
			continue
		}

		names = append(names, header.Name)
		bytes += header.Size

		if header.Name == "service" {
			if program, err = io.ReadAll(files); err != nil {
				return nil, err
			}
		}
	}

	slices.Sort(names)

	if !slices.Equal(names, []string{certificates, "service"}) {
		return nil, fmt.Errorf("it holds %q", names)
	}

	if bytes > mostImage {
		return nil, fmt.Errorf("it has %d bytes, more than %d", bytes, mostImage)
	}

	return program, nil
}
