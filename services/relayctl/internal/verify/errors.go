package verify

// SideError is an error of one of the two deployments.
type SideError struct {
	Target bool // else the source
	Err    error
}

func (e *SideError) Error() string {
	if e.Target {
		return "target: " + e.Err.Error()
	}

	return "source: " + e.Err.Error()
}

func (e *SideError) Unwrap() error { return e.Err }

func ofSource(err error) error {
	if err == nil {
		return nil
	}

	return &SideError{Err: err}
}

func ofTarget(err error) error {
	if err == nil {
		return nil
	}

	return &SideError{Target: true, Err: err}
}
