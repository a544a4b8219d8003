// Package settings reads a settings struct from the environment and lists every mistake at once.
//
// A service declares one struct; each field carries its variable, its default and one line of help:
//
//	type Config struct {
//		settings.Common
//		TargetURI settings.URI  `env:"TARGET_URI,required" help:"MongoDB to write to"`
//		BatchSize int           `env:"BATCH_SIZE" envDefault:"100" min:"1" max:"10000" help:"most events of one batch"`
//		IdleAfter time.Duration `env:"BATCH_IDLE_TIMEOUT" envDefault:"1s" min:"1ms" help:"a batch closes after this long without a new event"`
//	}
//
// Tags: env (name, and required), envDefault, help (one line, unit included), oneof (comma list of allowed values),
// min and max (for numbers, sizes and durations).
//
// A key or a connection string in a variable that is no secret is a mistake, and not shown. An empty variable counts as
// unset. A field of type [Secret] or [URI] may be given as <NAME>_FILE, the file that holds
// it. A variable one letter away from one of the struct is a mistake, not silence. What a struct cannot say by tags, it
// says in a method Validate() error that returns [Mistake] values (joined with errors.Join); embedded structs are asked
// too.
package settings
