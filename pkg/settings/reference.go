package settings

import "strings"

// Row is the field as a row of a Markdown table: variable, default, meaning.
func (f *Field) Row() string {
	preset := "`" + f.Default + "`"

	switch {
	case f.Required:
		preset = "required"
	case f.Default == "":
		preset = ""
	}

	meaning := f.Help
	if len(f.OneOf) > 0 {
		meaning += " (`" + strings.Join(f.OneOf, "`, `") + "`)"
	}

	if f.Secret {
		meaning += "; or `" + f.Name + "_FILE`"
	}

	return "| `" + f.Name + "` | " + preset + " | " + strings.ReplaceAll(meaning, "|", `\|`) + " |"
}
