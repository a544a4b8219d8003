package settings

import "regexp"

// misplaced finds secrets in variables that hold none: a key or a connection string where its path, or something else
// entirely, belongs. They are taken out of given, so that no later mistake quotes them.
func misplaced(fields []Field, given map[string]string) []Mistake {
	// A PEM block, the seed of a NATS key, a JWT, a URI with a password.
	secret := regexp.MustCompile(`-----BEGIN |\bS[UAO][A-Z2-7]{56}\b|\beyJ[\w-]{10,}\.|://[^/@\s]*:.*@`)

	var mistakes []Mistake

	for i := range fields {
		f := &fields[i]

		variable := f.Name
		if f.Secret {
			variable += "_FILE"
		}

		if !secret.MatchString(given[variable]) {
			continue
		}

		delete(given, variable)

		mistakes = append(mistakes, Mistake{Name: variable, Rule: "holds a secret, which does not belong there and is not shown: " + purpose(f)})
	}

	return mistakes
}

// purpose is what belongs into the variable, or into the file that stands for it.
func purpose(f *Field) string {
	if f.Secret {
		return "the path of a file with " + f.Name
	}

	return f.Help
}
