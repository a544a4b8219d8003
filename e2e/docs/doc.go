// Package docs has no code: its tests keep the README and the compose file true.
package docs
