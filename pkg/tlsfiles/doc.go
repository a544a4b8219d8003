// Package tlsfiles makes TLS of PEM files that may change while a process runs.
//
//	server   each handshake takes what the files said last; connections that are open stay open
//	client   each new connection does
//
// A file that cannot be used (half written, another key, expired) is refused: what was read before stays valid, and the log
// and a metric say so. A certificate that should have been renewed by now is told of likewise.
package tlsfiles
