package natstest

import (
	"errors"
	"os"
)

// Backup copies the store to a directory that is empty or not there yet. The server is stopped meanwhile: clients are cut.
func (s *Server) Backup(dir string) error {
	s.Stop()

	return errors.Join(os.CopyFS(dir, os.DirFS(s.StoreDir())), s.Resume())
}

// Restore has the server come back with the store of a backup. What was stored since is lost, as by a power cut or by the
// backup of yesterday; clients remember it.
func (s *Server) Restore(dir string) error {
	s.Stop()

	return errors.Join(os.RemoveAll(s.StoreDir()), os.CopyFS(s.StoreDir(), os.DirFS(dir)), s.Resume())
}
