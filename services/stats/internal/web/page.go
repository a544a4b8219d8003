package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

// description is made by make generate.
//
//go:embed openapi.swagger.json
var description []byte

func serveDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description) // an asker who has left needs no answer
}

// file is one of the page, with a tag by which browsers know that they have it.
type file struct {
	name, tag string
	content   []byte
}

// newPage serves the embedded files.
func newPage() (http.Handler, error) {
	files := make(map[string]file)

	err := fs.WalkDir(pageFiles, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		content, err := pageFiles.ReadFile(name)
		digest := sha256.Sum256(content)
		files[name[len("page"):]] = file{path.Base(name), `"` + hex.EncodeToString(digest[:8]) + `"`, content}

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}

	files["/"] = files["/index.html"]

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, found := files[r.URL.Path]
		if !found || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)

			return
		}

		w.Header().Set("Cache-Control", "no-cache") // ask whether it changed
		w.Header().Set("Etag", f.tag)
		http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.content))
	}), nil
}
