package mongotest

import (
	"path/filepath"
	"strconv"
	"strings"
)

const (
	loopback   = "127.0.0.1"
	replicaSet = "rs0"

	// oplogEntries is far above what any test writes. The 100 000 of the stand-ins would lose history in the middle of a
	// benchmark.
	oplogEntries = 50_000_000
)

// arguments are those of the flavor's program for a server on port with its files in dir.
func (s *Server) arguments(auth bool) []string {
	switch s.choice.Flavor {
	case Mongod:
		return s.mongodArguments(s.port.number, auth)
	case MongodInDocker:
		return s.dockerArguments(auth)
	default:
		return s.secantusArguments(auth)
	}
}

func (s *Server) secantusArguments(auth bool) []string {
	o := s.options

	args := []string{
		"--config", s.dir.config(), // empty: the settings of the user's own server must not reach this one
		"--host", loopback,
		"--port", strconv.Itoa(s.port.number),
		"--storage-path", s.dir.data(),
		"--log-level", "WARNING",
		"--cache-size", "1G",
		"--noop-heartbeat-seconds", "1", // makes the resume token of an idle change stream move, as mongod does every 10 s
		"--oplog-max-entries", strconv.Itoa(o.OplogMaxEntries),
		"--oplog-retention-seconds", "86400",
	}

	if o.SyncOnCommit {
		args = append(args, "--sync-on-commit")
	}

	if o.Standalone {
		args = append(args, "--standalone")
	}

	if auth {
		args = append(args, "--auth")
	}

	return args
}

// mongodArguments: the real server counts its oplog in MiB and syncs a majority write by default.
func (s *Server) mongodArguments(port int, auth bool) []string {
	args := []string{
		"--bind_ip", loopback,
		"--port", strconv.Itoa(port),
		"--dbpath", s.dir.data(),
		"--nounixsocket",
		"--quiet",
		"--wiredTigerCacheSizeGB", "0.5",
	}

	if !s.options.Standalone {
		args = append(args, "--replSet", replicaSet, "--setParameter", "periodicNoopIntervalSecs=1")

		if s.options.OplogMaxEntries < oplogEntries {
			args = append(args, "--oplogSize", "1")
		}
	}

	if auth {
		args = append(args, "--auth")

		if !s.options.Standalone {
			args = append(args, "--keyFile", s.dir.keyFile())
		}
	}

	return args
}

// dockerArguments run mongod in a container that ends when the docker client does: cat returns when our end of the
// client's standard input is closed, and the container is removed with its first process. Its data live in a volume
// under the server's directory, so that a restarted server finds them.
func (s *Server) dockerArguments(auth bool) []string {
	const portInside = 27017

	words := []string{"mongod"}
	for _, arg := range s.mongodArguments(portInside, auth) {
		switch arg {
		case loopback:
			arg = "0.0.0.0" // of the container; only 127.0.0.1 of this host is mapped to it
		case s.dir.data():
			arg = "/data/db"
		case s.dir.keyFile():
			arg = "/relay/" + filepath.Base(s.dir.keyFile())
		}

		words = append(words, arg)
	}

	return []string{
		"run", "--rm", "--interactive",
		"--publish", loopback + ":" + strconv.Itoa(s.port.number) + ":27017",
		"--volume", s.dir.data() + ":/data/db",
		"--volume", s.dir.path + ":/relay:ro",
		"--entrypoint", "bash",
		dockerImage,
		"-c", strings.Join(words, " ") + " & cat >/dev/null; kill -9 $!",
	}
}
