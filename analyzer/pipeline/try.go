package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/engine"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// Try runs detections over a few records, the whole way that logs go, and
// returns what they find. It is how cases are tested.
func Try(ctx context.Context, records [][]byte, detections []analyzer.Detection, s *analyzer.Settings, learnUntil time.Time) (_ []analyzer.Finding, err error) {
	dir, err := os.MkdirTemp("", "keytrail-case-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary lake: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := lake.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	events := append([]analyzer.EventName{}, intake.MemoryEvents...)
	for _, d := range detections {
		events = append(events, d.Events...)
	}
	in := intake.Ingest{Lake: l, Run: "case", Events: events, Workers: 1}
	log := bytes.Join(records, []byte("\n"))
	got, err := in.Inputs(ctx, []trail.Input{{Name: "case", Size: int64(len(log)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(log)), nil
	}}})
	if err != nil {
		return nil, err
	}
	if len(got.Rejects) > 0 {
		return nil, fmt.Errorf("record at offset %d: %s", got.Rejects[0].Offset, got.Rejects[0].Reason)
	}
	objects, err := l.Pending(ctx)
	if err != nil {
		return nil, err
	}
	on := make([]*analyzer.Detection, len(detections))
	for i := range detections {
		on[i] = &detections[i]
	}
	render := Analysis{Settings: s}
	e, err := engine.Open(ctx, engine.Config{
		LakeRoot: dir, MemoryRoot: filepath.Join(dir, "memory"), Threads: 1,
		Settings: s, Detections: on, Render: render.render, LearnUntil: learnUntil,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	res, err := e.Tick(ctx, memory.Manifest{Version: memory.Version}, engine.Slice{Objects: objects, Forget: true})
	if err != nil {
		return nil, err
	}
	return res.Findings, nil
}

// Render fills in the parameters of a detection's SQL as a run would.
func Render(d analyzer.Detection, s *analyzer.Settings, at engine.Moment) (string, error) {
	a := Analysis{Settings: s}
	return a.render(&d, at)
}
