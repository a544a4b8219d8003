// Command check judges the record of a run of the relay, a folder as e2e/history describes it, and prints what it found.
//
//	go run ./e2e/cmd/check [-fault-changes 100] [-recovery 7s] FOLDER
//
// It exits with 0 when every invariant holds, with 1 when one does not, with 2 when the record cannot be judged.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
	}

	os.Exit(code)
}

// Exit codes.
const (
	fine    = 0
	broken  = 1
	refused = 2
)

func run(args []string, out io.Writer) (code int, err error) {
	limits := verify.DefaultLimits()

	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.IntVar(&limits.FaultChanges, "fault-changes", limits.FaultChanges, "changes that have to be written during each fault")
	flags.DurationVar(&limits.Recovery, "recovery", limits.Recovery, "how long after the last fault the state has to be OK; 0: only measured")
	flags.BoolVar(&limits.WholeTransactions, "whole-transactions", limits.WholeTransactions, "refuse transactions of the source that were committed in pieces, which are counted otherwise")

	flags.SetOutput(io.Discard) // main says what is wrong

	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(out)
		flags.PrintDefaults()

		return fine, nil
	case err != nil:
		return refused, fmt.Errorf("read the options: %w", err)
	case flags.NArg() != 1:
		return refused, errors.New("name the folder of one record, behind the options")
	}

	report, err := verify.Check(flags.Arg(0), limits)
	if err != nil {
		return refused, err
	}

	if err := report.Write(out); err != nil {
		return refused, err
	}

	if !report.OK() {
		return broken, nil
	}

	return fine, nil
}
