package trail

// SetWindow makes the reader begin with a small window, so that short inputs
// cross its borders.
func (r *Reader) SetWindow(size int) { r.window = size }
