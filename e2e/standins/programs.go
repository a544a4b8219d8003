package standins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func empty() rootfs {
	return rootfs{files: map[string]string{}, links: map[string]string{}, dirs: []string{"tmp"}}
}

// own builds programs of this module.
func own(ctx context.Context, dir string, names ...string) error {
	root, err := harness.Root(ctx)
	if err != nil {
		return err
	}

	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "github.com/atlas-relay/atlas-relay/e2e/standins/"+name)
	}

	return goTool(ctx, root, nil, args...)
}

// goTool runs go for a program that needs nothing of the system it runs on.
func goTool(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}

	return nil
}

func mongo(ctx context.Context, dir string) (rootfs, []string, error) {
	files := empty()

	if err := own(ctx, dir, "mongod", "mongosh"); err != nil {
		return files, nil, err
	}

	server, err := mongotest.InstallStandIn(ctx, os.Stderr)
	if err != nil {
		return files, nil, err
	}

	files.files["usr/local/bin/mongod"] = filepath.Join(dir, "mongod")
	files.files["usr/local/bin/mongosh"] = filepath.Join(dir, "mongosh")

	if err := files.withLibraries(ctx, "usr/local/bin/secantusd-rs", server); err != nil {
		return files, nil, err
	}

	files.dirs = append(files.dirs, "data/db")

	return files, []string{
		"ENV PATH=/usr/local/bin",
		"EXPOSE 27017",
		"VOLUME /data/db",
		`ENTRYPOINT ["mongod"]`,
	}, nil
}

// natsServer is the version that the tests run in process, of the line that the compose file names.
const natsServer = "github.com/nats-io/nats-server/v2@v2.15.2"

func nats(ctx context.Context, dir string) (rootfs, []string, error) {
	files := empty()

	if err := goTool(ctx, dir, []string{"GOBIN=" + dir, "GOWORK=off"}, "install", natsServer); err != nil {
		return files, nil, err
	}

	files.files["usr/local/bin/nats-server"] = filepath.Join(dir, "nats-server")

	return files, []string{
		"ENV PATH=/usr/local/bin:/bin",
		"EXPOSE 4222 8222",
		`ENTRYPOINT ["nats-server"]`,
	}, files.withBusybox("sh", "wget")
}

func goVersion() string { return runtime.Version() }

// golang is the toolchain without its tests, and the certificates that a build brings along.
func golang(ctx context.Context, _ string) (rootfs, []string, error) {
	files := empty()

	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return files, nil, fmt.Errorf("ask go for its directory: %w", err)
	}

	goroot := strings.TrimSpace(string(out))

	for _, part := range []string{"VERSION", "go.env", "bin", "lib", "pkg", "src"} {
		files.files["usr/local/go/"+part] = filepath.Join(goroot, part)
	}

	files.files["etc/ssl/certs/ca-certificates.crt"] = "/etc/ssl/certs/ca-certificates.crt"
	files.dirs = append(files.dirs, "go", "root")

	return files, []string{
		"ENV GOTOOLCHAIN=local",
		"ENV GOPATH=/go",
		"ENV HOME=/root",
		"ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/bin:/bin",
		"WORKDIR /go",
	}, files.withBusybox("sh", "cat", "cp", "find", "ls", "mkdir", "rm", "touch")
}

// prometheus is that of this host, or built from its module: real, perhaps of another version.
func prometheus(ctx context.Context, _ string) (rootfs, []string, error) {
	files := empty()

	program, err := harness.FindPrometheus(ctx, os.Stderr)
	if err != nil {
		return files, nil, err
	}

	if err := files.withLibraries(ctx, "bin/prometheus", program); err != nil {
		return files, nil, err
	}

	files.dirs = append(files.dirs, "prometheus")

	return files, []string{
		"ENV PATH=/bin",
		"EXPOSE 9090",
		"VOLUME /prometheus",
		"WORKDIR /prometheus",
		"USER 65534",
		`ENTRYPOINT ["/bin/prometheus"]`,
	}, files.withBusybox("sh", "wget")
}

// jaegerVersion is that of the module; the image calls the same release 2.13.0.
const jaegerVersion = "v1.76.0"

// jaeger is what the image holds, but for the pages, which its makers put into the module's directory before they build.
func jaeger(ctx context.Context, dir string) (rootfs, []string, error) {
	files := empty()
	program := filepath.Join(dir, "jaeger-linux")

	err := harness.BuildModule(ctx, "github.com/jaegertracing/jaeger", jaegerVersion, "./cmd/jaeger", program, "-ldflags", "-s -w")
	if err != nil {
		return files, nil, err
	}

	files.files["cmd/jaeger/jaeger-linux"] = program

	return files, []string{
		"ENV JAEGER_LISTEN_HOST=0.0.0.0",
		"EXPOSE 4317 4318 16686 13133",
		"VOLUME /tmp",
		"USER 10001",
		`ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]`,
	}, files.withBusybox("sh", "wget")
}
