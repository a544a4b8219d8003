// Package compose runs docker compose up for real, from a clean clone, breaks every container, and compares source with
// target: make test-compose. Its tests need the build tag compose, and a Docker engine or a dockerd that root may start.
//
// Images that cannot be pulled have stand-ins of the same name (e2e/standins); what is printed first says which.
package compose
