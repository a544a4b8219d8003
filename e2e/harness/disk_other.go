//go:build !linux

package harness

import "context"

// DiskLacks is why this machine can have no Disk.
func DiskLacks() error { return ErrNoDisk }

func holdNamespace(string, string, string) (*Process, error) { return nil, ErrNoDisk }

func (*Disk) run(context.Context, string, ...string) error { return ErrNoDisk }

func (*Disk) within(context.Context, ...string) error { return ErrNoDisk }

// Fill can only be had on Linux.
func (*Disk) Fill(int64) error { return ErrNoDisk }

func enter(string) error { return ErrNoDisk }
