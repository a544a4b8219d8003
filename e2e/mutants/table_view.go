package mutants

// viewed are mutants of what people are told, and of what they may do.
func viewed() []Mutant {
	return []Mutant{
		{
			Name: "parked-is-not-pending", File: stats + "tally/count.go",
			What: "Events that are parked are in no sum.",
			Old:  `	p.Pending = new(unread + unsigned(p.Checkpoint.Parked))`,
			New:  `	p.Pending = new(unread)`,
		},
		{
			Name: "skipped-by-the-listener-forgotten", File: stats + "tally/count.go",
			What: "Only what processors skipped counts as skipped.",
			Old:  `		s.Skipped = new(in.Stream.Skipped + skipped)`,
			New:  `		s.Skipped = new(skipped)`,
		},
		{
			Name: "sum-that-differs-is-fine", File: stats + "tally/judge.go",
			What: "A sum that does not add up does not change the status.",
			Old:  `	if s.AddsUp != nil && !*s.AddsUp {`,
			New:  `	if s.AddsUp != nil && *s.Total < *s.Processed && !*s.AddsUp {`,
		},
		{
			Name: "password-with-an-at-sign-shown", File: "pkg/settings/secret.go",
			What: "Of a password that has an @ what follows it is shown.",
			Old:  `	if at := strings.LastIndexByte(rest, '@'); at >= 0 {`,
			New:  `	if at := strings.IndexByte(rest, '@'); at >= 0 {`,
		},
		{
			Name: "secret-in-structured-logs", File: "pkg/settings/secret.go",
			What: "A URI shows its password to slog.",
			Old:  `func (u URI) LogValue() slog.Value { return slog.StringValue(u.String()) }`,
			New:  `func (u URI) LogValue() slog.Value { return slog.StringValue(u.Reveal()) }`,
		},
		{
			Name: "unknown-token-is-nobody-in-particular", File: stats + "access/access.go",
			What: "Who shows a token that nobody has is let in as one without a token.",
			Old:  `			return Identity{}, ErrBadToken`,
			New:  `			break`,
		},
	}
}
