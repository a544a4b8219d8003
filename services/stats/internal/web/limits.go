package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxBody = 1 << 20 // bytes; the largest request has 1000 names
	// bodyTimeout is what a request gets to arrive. It is read before anybody is asked who sends it.
	bodyTimeout = 10 * time.Second
)

// bounded reads the request, at most maxBody within bodyTimeout, before it hands it on.
func bounded(translate *runtime.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			runtime.HTTPError(r.Context(), translate, marshaler(), w, r, status.Error(codes.InvalidArgument, err.Error()))

			return
		}

		r.Body = io.NopCloser(bytes.NewReader(body))

		translate.ServeHTTP(w, r)
	})
}

// readBody takes the deadline away afterwards: net/http reads on while the answer is made, to learn whether the client has
// left, and would take a deadline for that.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}

	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, fmt.Errorf("bound the request: %w", err)
	}

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))

	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, fmt.Errorf("the request is larger than %d bytes", maxBody)
	case err != nil:
		return nil, fmt.Errorf("the request did not arrive whole within %s", bodyTimeout)
	}

	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("bound the request: %w", err)
	}

	return body, nil
}

// patient gives a reader of a watch as long for each sample as one of the events has, and no longer.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ":watch") {
			w = &patientWriter{w, http.NewResponseController(w)}
		}

		next.ServeHTTP(w, r)
	})
}

type patientWriter struct {
	http.ResponseWriter

	control *http.ResponseController
}

// Write implements io.Writer.
func (w *patientWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		return 0, err
	}

	return w.ResponseWriter.Write(b)
}

// Unwrap implements what http.ResponseController looks for.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher, which the translator asks for.
func (w *patientWriter) Flush() { _ = w.control.Flush() } // the next Write tells of it
