// Package standins makes images that take the place of those that the compose file and the Dockerfile name, where a
// Docker engine neither has the real ones nor can pull them. They bear the names of the real ones, so that the files are
// tried as they are, and a label that says what they are.
package standins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// Label is on every stand-in; its value says what is inside.
const Label = mongotest.StandInLabel

// kept is the repository under which stand-ins that take long to make stay on the engine for the next time.
const kept = "atlas-relay-stand-in"

// image is a stand-in.
type image struct {
	name string // that of the real one
	is   string // what it is instead
	make func(ctx context.Context, dir string) (rootfs, []string, error)
	keep string // tag under which it stays, another one for another content; empty: it is made anew each time
}

// images are those that can be made.
func images() []image {
	return []image{
		{name: "mongo:8", is: "secantusd-rs, a server that speaks the protocol of MongoDB", make: mongo},
		{name: "nats:2.15-alpine", is: "the real nats-server, built from its module", make: nats},
		{name: "golang:1.26-alpine", is: "the Go of this host", make: golang, keep: "golang-2-" + goVersion()},
		{name: "prom/prometheus:v3.5.0", is: "a real Prometheus, perhaps of another version", make: prometheus},
		{name: "jaegertracing/jaeger:2.13.0", is: "the real Jaeger, built from its module, without its pages", make: jaeger, keep: "jaeger-" + jaegerVersion},
	}
}

// NotMade are images of the compose file that have no stand-in, and why.
func NotMade() map[string]string {
	return map[string]string{
		"grafana/grafana:12.1.0": "no registry but that of images has it",
	}
}

// Names are those of the images that have a stand-in.
func Names() []string {
	var names []string
	for _, i := range images() {
		names = append(names, i.name)
	}

	return names
}

// Set is the stand-ins that were made on an engine.
type Set struct {
	docker *harness.Docker
	names  []string
}

// Made are the names of the images that are stand-ins.
func (s *Set) Made() []string { return s.names }

// Pulling an image that is there takes a while; a registry that is not reached does not answer the next time either.
const pullTimeout = 10 * time.Minute

// Provide sees to it that the engine has these images: it takes those that are there, pulls the others, and makes stand-ins
// for what cannot be pulled. It tells which they are. The caller must Remove them.
func Provide(ctx context.Context, docker *harness.Docker, progress io.Writer, names ...string) (*Set, error) {
	s := &Set{docker: docker}
	unreachable := false

	for _, name := range names {
		is, err := label(ctx, docker, name)
		if err == nil && is == "" { // else it is not there, or left behind by a run that was killed
			continue
		}

		if !unreachable {
			if err = pull(ctx, docker, name); err == nil {
				continue
			}

			unreachable = true
		}

		if err := s.make(ctx, name, progress); err != nil {
			return nil, errors.Join(fmt.Errorf("make a stand-in for %s: %w", name, err), s.Remove(ctx))
		}
	}

	return s, nil
}

// label is what the image says of being a stand-in; an error when there is no such image.
func label(ctx context.Context, docker *harness.Docker, name string) (string, error) {
	return docker.Run(ctx, "image", "inspect", "--format", `{{index .Config.Labels "`+Label+`"}}`, name)
}

func pull(ctx context.Context, docker *harness.Docker, name string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()

	_, err := docker.Run(ctx, "pull", "--quiet", name)

	return err
}

func (s *Set) make(ctx context.Context, name string, progress io.Writer) (err error) {
	var chosen image

	for _, i := range images() {
		if i.name == name {
			chosen = i
		}
	}

	if chosen.make == nil {
		return errors.New("there is none: " + NotMade()[name])
	}

	_, _ = fmt.Fprintf(progress, "STAND-IN: %s cannot be pulled; in its place: %s\n", name, chosen.is)

	tag := kept + ":" + chosen.keep

	if chosen.keep == "" {
		tag = name
	} else if _, err := label(ctx, s.docker, tag); err == nil {
		return s.tag(ctx, tag, name)
	}

	dir, err := os.MkdirTemp("", "atlas-relay-standin-*")
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	files, config, err := chosen.make(ctx, dir)
	if err != nil {
		return err
	}

	config = append(config, "LABEL "+Label+"="+quote(chosen.is))

	if err := load(ctx, s.docker, files, config, tag); err != nil {
		return err
	}

	return s.tag(ctx, tag, name)
}

func (s *Set) tag(ctx context.Context, from, name string) error {
	s.names = append(s.names, name)

	if from == name {
		return nil
	}

	_, err := s.docker.Run(ctx, "tag", from, name)

	return err
}

// Remove takes the names from the stand-ins, so that nobody takes one for the real image. What took long to make stays
// under a name of its own.
func (s *Set) Remove(ctx context.Context) error {
	var errs []error

	for _, name := range s.names {
		_, err := s.docker.Run(ctx, "rmi", name)
		errs = append(errs, err)
	}

	s.names = nil

	return errors.Join(errs...)
}

// quote is a value for docker import --change, which is read like a line of a Dockerfile.
func quote(value string) string { return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"` }
