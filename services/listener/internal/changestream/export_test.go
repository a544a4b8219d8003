package changestream

// CursorID is the server's name of the cursor that is read now.
func (s *Stream) CursorID() int64 { return s.cursor.ID() }
