// Package mutants plants bugs in the relay, one at a time, and looks which test finds them: what the tests cannot tell from
// the right program they do not guard.
//
// A mutant is one small change that a tired colleague could make, in a table of Go: the text as it is, and as it is
// planted. It is never written into the tree. The compiler gets it by -overlay, from a copy of the one file; what the mutant
// does not touch comes from the build cache. Whoever changes the code that a mutant is planted in has to change the table,
// too: TestEveryMutantCanBePlanted finds that.
//
// Where a mutant is looked for, the nearest first:
//
//	its package        all tests of the changed file's package; several runs where they draw random input
//	packages           those of the services and of pkg that use it, one after the other, the nearest first
//	end to end         the tests of e2e, which run the services as processes
//	chaos              short chaos runs, one for each seed
//
// Nobody chooses a test for a mutant. It is found when a test fails with it, fails with it twice more by itself, and passes
// without it as often. One that does not compile, or that no test finds, is an error.
package mutants
