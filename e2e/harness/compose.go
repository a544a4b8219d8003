package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Compose is the compose file of a tree, as a project of its own name.
type Compose struct {
	Docker *Docker
	Dir    string            // of the tree
	Name   string            // of the project
	Env    map[string]string // what its user has exported
}

// Run runs docker compose and returns what it wrote to stdout.
func (c *Compose) Run(ctx context.Context, args ...string) (string, error) {
	return c.call(ctx, "", append([]string{"compose"}, args...))
}

// Make makes a target of the tree's Makefile.
func (c *Compose) Make(ctx context.Context, target string) (string, error) {
	return c.call(ctx, "make", []string{target})
}

func (c *Compose) call(ctx context.Context, program string, args []string) (string, error) {
	env := maps.Clone(c.Env)
	if env == nil {
		env = map[string]string{}
	}

	env["COMPOSE_PROJECT_NAME"] = c.Name // wins over the name in the file

	return c.Docker.run(ctx, call{program: program, args: args, dir: c.Dir, env: env})
}

// Remove ends the project and removes its containers, networks, volumes and images.
func (c *Compose) Remove(ctx context.Context) error {
	_, err := c.Run(ctx, "--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5")

	return err
}

// Container is what docker inspect says of one.
type Container struct {
	ID    string `json:"Id"`
	Name  string
	Image string
	State struct {
		Status     string
		Pid        int
		ExitCode   int
		StartedAt  time.Time
		FinishedAt time.Time
		Health     *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	RestartCount int
	Config       struct{ Labels map[string]string }
	HostConfig   struct {
		ReadonlyRootfs bool
		Privileged     bool
		CapAdd         []string
		CapDrop        []string
		SecurityOpt    []string
	}
	NetworkSettings struct {
		Networks map[string]struct{ Aliases []string }
	}
}

// Healthy tells that its health check says so.
func (c *Container) Healthy() bool {
	return c.State.Health != nil && c.State.Health.Status == "healthy"
}

// Unhealthy tells that its health check has given up.
func (c *Container) Unhealthy() bool {
	return c.State.Health != nil && c.State.Health.Status == "unhealthy"
}

// Says is its state in a few words, with the last answer of its health check.
func (c *Container) Says() string {
	words := strings.TrimPrefix(c.Name, "/") + " " + c.State.Status

	if h := c.State.Health; h != nil {
		words += " " + h.Status

		if last := len(h.Log) - 1; last >= 0 {
			words += ": " + strings.TrimSpace(h.Log[last].Output)
		}
	}

	return words
}

// Service is the service of the compose file that the container belongs to.
func (c *Container) Service() string { return c.Config.Labels["com.docker.compose.service"] }

// Containers are those of these services, without names all of the project, whether they run or not, by name. Those of
// docker compose run do not count.
func (c *Compose) Containers(ctx context.Context, services ...string) ([]*Container, error) {
	out, err := c.Docker.Run(ctx, "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+c.Name, "--filter", "label=com.docker.compose.oneoff=False")
	if err != nil {
		return nil, err
	}

	ids := strings.Fields(out)
	if len(ids) == 0 {
		return nil, nil
	}

	var all []*Container
	if err := c.Docker.Inspect(ctx, &all, ids...); err != nil {
		return nil, err
	}

	if len(services) > 0 {
		all = slices.DeleteFunc(all, func(x *Container) bool { return !slices.Contains(services, x.Service()) })
	}

	slices.SortFunc(all, func(a, b *Container) int { return strings.Compare(a.Name, b.Name) })

	return all, nil
}

// One is the only container of a service.
func (c *Compose) One(ctx context.Context, service string) (*Container, error) {
	all, err := c.Containers(ctx, service)
	if err != nil {
		return nil, err
	}

	if len(all) != 1 {
		return nil, fmt.Errorf("%d containers of %s instead of one", len(all), service)
	}

	return all[0], nil
}

const containerEvery = 200 * time.Millisecond

// Await waits until every container of a service fulfils a condition. When ctx ends, the error says how they are.
func (c *Compose) Await(ctx context.Context, service, what string, condition func(*Container) bool) error {
	var (
		last    []*Container
		trouble error
	)

	err := Await(ctx, containerEvery, func(ctx context.Context) (bool, error) {
		all, err := c.Containers(ctx, service)
		if trouble = err; err != nil {
			return false, nil //nolint:nilerr // one of them may just have been removed; kept in trouble
		}

		last = all

		return len(all) > 0 && !slices.ContainsFunc(all, func(x *Container) bool { return !condition(x) }), nil
	})
	if err == nil {
		return nil
	}

	says := []string{what + " did not come true"}
	for _, x := range last {
		says = append(says, x.Says())
	}

	return errors.Join(errors.New(strings.Join(says, "; ")), err, trouble)
}

// Logs are the last lines of everything in the project, to stand with a failure.
func (c *Compose) Logs(ctx context.Context) string {
	const lines = "30"

	out, err := c.Run(ctx, "logs", "--no-color", "--tail", lines)
	if err != nil {
		return err.Error()
	}

	return out
}

// Inspect reads what docker inspect says of some objects.
func (d *Docker) Inspect(ctx context.Context, into any, names ...string) error {
	out, err := d.Run(ctx, append([]string{"inspect"}, names...)...)
	if err != nil {
		return err
	}

	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("read docker inspect: %w", err)
	}

	return nil
}
