// Mongosh stands in for the shell of MongoDB in the image mongo, as far as health checks use it: it evaluates JavaScript
// in which db.hello(), rs.status(), rs.initiate() and quit() ask the server on this host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/dop251/goja"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func main() {
	flag.Bool("quiet", false, "print nothing at the start; it never does")
	script := flag.String("eval", "", "what to evaluate")
	flag.Parse()

	code, err := run(context.Background(), *script)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		code = 1
	}

	os.Exit(code)
}

const (
	uri     = "mongodb://127.0.0.1:27017/?directConnection=true"
	timeout = 5 * time.Second // of everything
)

// errQuit ends a script.
var errQuit = errors.New("quit")

// run evaluates the script and returns what it quits with.
func run(ctx context.Context, script string) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(timeout / 2))
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()

	vm := goja.New()

	// ask runs a command on the database admin; what the server refuses is an exception of the script.
	ask := func(command bson.D) any {
		answer, err := client.Database("admin").RunCommand(ctx, command).Raw()
		if err != nil {
			panic(vm.NewGoError(err))
		}

		return fromBSON(vm, answer)
	}

	shell := map[string]map[string]any{
		"db": {"hello": func() any { return ask(bson.D{{Key: "hello", Value: 1}}) }},
		"rs": {
			"status":   func() any { return ask(bson.D{{Key: "replSetGetStatus", Value: 1}}) },
			"initiate": func(config goja.Value) any { return ask(bson.D{{Key: "replSetInitiate", Value: toBSON(vm, config)}}) },
		},
	}

	for name, object := range shell {
		if err := vm.Set(name, object); err != nil {
			return 0, err
		}
	}

	err = vm.Set("quit", func(with int) {
		code = with
		vm.Interrupt(errQuit)
	})
	if err != nil {
		return 0, err
	}

	if _, err := vm.RunString(script); err != nil && !errors.Is(err, errQuit) {
		return 0, err
	}

	return code, nil
}

func fromBSON(vm *goja.Runtime, doc bson.Raw) any {
	text, err := bson.MarshalExtJSON(doc, false, false)
	if err != nil {
		panic(vm.NewGoError(err))
	}

	parse, _ := goja.AssertFunction(vm.Get("JSON").ToObject(vm).Get("parse"))

	value, err := parse(goja.Undefined(), vm.ToValue(string(text)))
	if err != nil {
		panic(vm.NewGoError(err))
	}

	return value
}

func toBSON(vm *goja.Runtime, value goja.Value) bson.D {
	var doc bson.D

	text, err := value.ToObject(vm).MarshalJSON()
	if err == nil {
		err = bson.UnmarshalExtJSON(text, false, &doc)
	}

	if err != nil {
		panic(vm.NewGoError(err))
	}

	return doc
}
