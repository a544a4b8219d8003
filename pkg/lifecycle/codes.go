package lifecycle

// Code is an exit code, of every program alike.
type Code struct {
	Number  int
	Meaning string
	Remedy  string
}

// Codes are all that a program ends with by itself. Those from 128 on are the system's: 128 and the number of the signal
// that ended the program, of a second Ctrl-C for example.
func Codes() []Code {
	return []Code{
		{0, "what was asked for is done, or the service was told to stop and did", "none"},
		{exitFatal, "the answer is not a good one (`status`, `doctor`, `verify`, and actions that left something as it was), or a service met what it cannot get over", "the text above names it: `relayctl status` says what the flow needs, the last line of a service's log what it met"},
		{exitRefused, "settings, arguments, credentials or certificates were refused; waiting does not make them right", "change what the text names; [SETTINGS.md](SETTINGS.md), [COMMANDS.md](COMMANDS.md)"},
		{exitUnreachable, "a server cannot be reached, or what was asked cannot be known without it", "start it, or open the way to it; then the same command again"},
	}
}
