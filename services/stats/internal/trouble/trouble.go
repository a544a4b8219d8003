// Package trouble is what keeps a flow's target from answering a person's question.
package trouble

// TargetError is a question that the target did not answer.
type TargetError struct {
	Flow string
	Err  error
}

func (e *TargetError) Error() string {
	return "ask the target of flow " + e.Flow + ": " + e.Err.Error()
}
func (e *TargetError) Unwrap() error { return e.Err }
