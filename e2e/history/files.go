package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Writer appends records to one file of a folder. Its methods may be called from any goroutine.
type Writer[T any] struct {
	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	lines  *json.Encoder
}

// Create makes a file of a folder, which must not have it yet.
func Create[T any](folder, name string) (*Writer[T], error) {
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file of the record: %w", err)
	}

	buffer := bufio.NewWriter(file)

	return &Writer[T]{file: file, buffer: buffer, lines: json.NewEncoder(buffer)}, nil
}

// Add appends a record.
func (w *Writer[T]) Add(record T) error {
	w.mu.Lock()
	defer w.mu.Unlock()

	if err := w.lines.Encode(record); err != nil {
		return fmt.Errorf("write to %s: %w", w.file.Name(), err)
	}

	return nil
}

// Close writes out what was added. Without it the end of the file may be missing.
func (w *Writer[T]) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()

	if err := errors.Join(w.buffer.Flush(), w.file.Close()); err != nil {
		return fmt.Errorf("write to %s: %w", w.file.Name(), err)
	}

	return nil
}

// ErrDamaged says that a file of the record cannot be read: it was cut off, or is of another version.
var ErrDamaged = errors.New("the record is damaged")

// Each visits the records of a file one after the other; it holds one of them at a time. A file that is not there has
// none: errors.Is(err, os.ErrNotExist) tells. Errors: those of visit as they are, ErrDamaged, or of the file system.
func Each[T any](folder, name string, visit func(*T) error) error {
	file, err := os.Open(filepath.Join(folder, name))
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	defer file.Close()

	lines := json.NewDecoder(bufio.NewReaderSize(file, 1<<20))

	for n := 1; ; n++ {
		var record T

		err := lines.Decode(&record)
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("%w: line %d of %s: %w", ErrDamaged, n, file.Name(), err)
		}

		if err := visit(&record); err != nil {
			return err
		}
	}
}

// WriteMeta writes the meta file; one that is there is replaced.
func WriteMeta(folder string, meta Meta) error {
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", MetaFile, err)
	}

	if err := os.WriteFile(filepath.Join(folder, MetaFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", MetaFile, err)
	}

	return nil
}

// ReadMeta reads the meta file. Errors as of Each.
func ReadMeta(folder string) (Meta, error) {
	var meta Meta

	text, err := os.ReadFile(filepath.Join(folder, MetaFile))
	if err != nil {
		return Meta{}, fmt.Errorf("read the record: %w", err)
	}

	if err := json.Unmarshal(text, &meta); err != nil {
		return Meta{}, fmt.Errorf("%w: %s: %w", ErrDamaged, MetaFile, err)
	}

	return meta, nil
}
