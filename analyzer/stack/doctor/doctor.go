// Package doctor is the function that checks whether the account's trails still
// see KMS: a trail that excludes KMS, or records writes only, looks healthy and
// is blind.
package doctor

import (
	"context"
	"log/slog"

	"github.com/keytrail/keytrail/analyzer/cloud/trails"
	"github.com/keytrail/keytrail/analyzer/stack"
)

// Report is the function's answer.
type Report struct {
	// Sees tells whether at least one trail records all management events of KMS.
	Sees   bool    `json:"sees_kms"`
	Trails []Trail `json:"trails"`
	// Unread says why some trails could not be read; the others are in Trails.
	Unread string `json:"unread,omitempty"`
}

// Trail is what was found of one trail.
type Trail struct {
	Name  string   `json:"name"`
	ARN   string   `json:"arn"`
	Blind []string `json:"blind"` // what of KMS it does not see, in sentences
}

// Handler is the doctor function.
type Handler struct {
	Trails  func(ctx context.Context) ([]trails.Trail, error)
	Log     *slog.Logger
	Metrics *stack.Metrics
}

// Handle looks at all trails of the account and Region.
func (h *Handler) Handle(ctx context.Context) (Report, error) {
	all, err := h.Trails(ctx)
	rep := Report{Trails: []Trail{}}
	if err != nil {
		h.Metrics.Count(map[string]int64{"DoctorErrors": 1})
		if len(all) == 0 {
			return rep, err
		}
		rep.Unread = err.Error()
		h.Log.ErrorContext(ctx, "some trails cannot be read", "error", err)
	}
	for _, t := range all {
		found := Trail{Name: t.Name, ARN: t.ARN, Blind: append([]string{}, trails.Blind(t)...)}
		rep.Trails = append(rep.Trails, found)
		rep.Sees = rep.Sees || len(found.Blind) == 0
		for _, what := range found.Blind {
			h.Log.WarnContext(ctx, "a trail does not see all of KMS", "trail", t.ARN, "what", what)
		}
	}
	blind := int64(0)
	if !rep.Sees {
		blind = 1
		h.Log.ErrorContext(ctx, "no trail of this account records all that KMS does", "trails", len(all))
	}
	h.Metrics.Count(map[string]int64{"TrailBlind": blind, "Trails": int64(len(all))})
	return rep, nil
}
