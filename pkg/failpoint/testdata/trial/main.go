// Command trial passes two failpoints a few times, and says what it got.
package main

import (
	"fmt"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

func main() {
	defer fmt.Println("deferred")

	began := time.Now()

	for n := 1; n <= 3; n++ {
		failpoint.Pass(failpoint.Acked)
		fmt.Println(n, failpoint.Error(failpoint.CommitSent))
	}

	fmt.Println("slept", time.Since(began) > time.Second)
}
