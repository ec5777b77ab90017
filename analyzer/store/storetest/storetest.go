// Package storetest holds what every store of findings and alerts must do, as
// a test suite to run over each, and a store that fails where it is told to.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// Finding returns a high, active finding of a detection about a key, with one
// event at the given time and the id that follows from these.
func Finding(detection, key string, at time.Time) analyzer.Finding {
	arn := "arn:aws:kms:eu-west-1:111122223333:key/" + key
	return analyzer.Finding{
		ID: analyzer.FindingID(detection, []string{arn}, at), Detection: detection,
		Severity: analyzer.High, Status: analyzer.FindingActive, Time: at,
		Title: "Key deletion scheduled", Account: "111122223333", Region: "eu-west-1",
		Principal: "arn:aws:iam::111122223333:role/deploy", Key: arn,
		Entity: map[string]string{"key_arn": arn}, Count: 1, EventIDs: []string{"e-" + key + at.Format("-150405")},
		Evidence:    map[string]any{"pending_days": int64(7)},
		WindowStart: at, WindowEnd: at, FirstTime: at, LastTime: at,
	}.Normal()
}

// Run runs the suite; open returns an empty store for each test.
func Run(t *testing.T, open func(t *testing.T) analyzer.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s analyzer.Store)
	}{
		{"saving a finding says what that did to it", savingSaysWhatChanged},
		{"findings are listed by detection from a time in the order of their windows", findingsAreListedInOrder},
		{"a finding comes back as it was saved", findingsComeBack},
		{"the findings of a group are listed in short, in order", groupsListTheirFindings},
		{"a change marks its group from the earliest window until cleared", changesMarkGroups},
		{"an alert is written only at the version it was read at", alertsAreConditional},
		{"alerts are found by id, time and group", alertsAreFound},
		{"alerts are due until they were told", alertsAreDue},
		{"hidden findings are summed over alerts as they change", hiddenIsSummed},
		{"what was written is unprinted until marked, and again after a change", printing},
		{"values are kept apart by space, and nil removes one", values},
		{"nothing is shared with the caller", nothingIsShared},
		{"a cancelled context stops every call", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func save(t *testing.T, s analyzer.Store, findings ...analyzer.Finding) []analyzer.Change {
	t.Helper()
	changes, err := s.SaveFindings(t.Context(), findings)
	require.NoError(t, err)
	return changes
}

func savingSaysWhatChanged(t *testing.T, s analyzer.Store) {
	f, other := Finding("KMS-D01", "one", day), Finding("KMS-D01", "two", day)
	require.Equal(t, []analyzer.Change{"new"}, save(t, s, f))
	require.Equal(t, []analyzer.Change{"new", "same"}, save(t, s, other, f), "in the order given")
	f.Time = f.Time.In(time.FixedZone("elsewhere", 3600))
	require.Equal(t, []analyzer.Change{"same"}, save(t, s, f), "a time zone is not a change")
	f.Count = 2
	require.Equal(t, []analyzer.Change{"amended"}, save(t, s, f))
	f.Status = analyzer.FindingWithdrawn
	require.Equal(t, []analyzer.Change{"withdrawn"}, save(t, s, f))
	require.Equal(t, []analyzer.Change{"same"}, save(t, s, f))
	f.Status = analyzer.FindingActive
	require.Equal(t, []analyzer.Change{"amended"}, save(t, s, f))
	bare := analyzer.Finding{ID: "f-bare", Detection: "KMS-D02", WindowStart: day}
	require.Equal(t, []analyzer.Change{"new"}, save(t, s, bare))
	bare.EventIDs, bare.Entity, bare.Evidence = []string{}, map[string]string{}, map[string]any{}
	require.Equal(t, []analyzer.Change{"same"}, save(t, s, bare), "nothing and empty are the same")
	changes, err := s.SaveFindings(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, changes)
	bad := Finding("KMS-D01", "bad", day)
	bad.Evidence = map[string]any{"rate": func() {}}
	_, err = s.SaveFindings(t.Context(), []analyzer.Finding{bad})
	require.ErrorContains(t, err, bad.ID)
}

func findingsAreListedInOrder(t *testing.T, s analyzer.Store) {
	var want []string
	for i := range 5 {
		f := Finding("KMS-D01", "one", day.Add(time.Duration(4-i)*time.Hour+time.Nanosecond))
		save(t, s, f)
		want = append([]string{f.ID}, want...)
	}
	save(t, s, Finding("KMS-D0", "one", day), Finding("KMS-D011", "one", day))
	old := Finding("KMS-D01", "one", time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC))
	save(t, s, old)

	for _, test := range []struct {
		from time.Time
		want []string
	}{
		{time.Time{}, append([]string{old.ID}, want...)},
		{day, want},
		{day.Add(time.Hour + time.Nanosecond), want[1:]},
		{day.Add(time.Hour + 2*time.Nanosecond), want[2:]},
		{day.Add(24 * time.Hour), nil},
	} {
		ids, err := s.FindingIDs(t.Context(), "KMS-D01", test.from)
		require.NoError(t, err)
		require.Equal(t, test.want, ids)
		findings, err := s.Findings(t.Context(), "KMS-D01", test.from)
		require.NoError(t, err)
		require.Len(t, findings, len(test.want))
		for i := range findings {
			require.Equal(t, test.want[i], findings[i].ID)
		}
	}
}

func findingsComeBack(t *testing.T, s analyzer.Store) {
	f := Finding("KMS-D01", "one", day.Add(123*time.Millisecond))
	f.Suppression, f.Status = "rule nightly", analyzer.FindingSuppressed
	f.Evidence = map[string]any{"names": []any{"a", "b"}, "text": "<&>\u2028", "rate": 1.5, "nested": map[string]any{"n": int64(1) << 60}}
	save(t, s, f)
	got, err := s.Finding(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, f, got)
	_, err = s.Finding(t.Context(), "f-unknown")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.ErrorContains(t, err, "f-unknown")
}

func groupsListTheirFindings(t *testing.T, s analyzer.Store) {
	var want []analyzer.FindingRef
	for i := range 3 {
		f := Finding("KMS-D01", "one", day.Add(time.Duration(i)*time.Hour))
		save(t, s, Finding("KMS-D01", "two", f.Time), Finding("KMS-D02", "one", f.Time), f)
		want = append(want, f.Ref())
	}
	group := analyzer.GroupID("KMS-D01", Finding("KMS-D01", "one", day).Entity)
	refs, err := s.GroupFindings(t.Context(), group, time.Time{})
	require.NoError(t, err)
	require.Equal(t, want, refs)

	f := Finding("KMS-D01", "one", day)
	f.Status, f.Severity = analyzer.FindingWithdrawn, analyzer.Low
	save(t, s, f)
	want[0] = f.Ref()
	refs, err = s.GroupFindings(t.Context(), group, day)
	require.NoError(t, err)
	require.Equal(t, want, refs, "withdrawn ones stay in the list")
	refs, err = s.GroupFindings(t.Context(), group, day.Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, want[1:], refs)
}

func changesMarkGroups(t *testing.T, s analyzer.Store) {
	late, early := Finding("KMS-D01", "one", day.Add(time.Hour)), Finding("KMS-D01", "one", day)
	touched := func() []analyzer.TouchedGroup {
		groups, err := s.TouchedGroups(t.Context())
		require.NoError(t, err)
		return groups
	}
	require.Empty(t, touched())
	save(t, s, late)
	require.Equal(t, []analyzer.TouchedGroup{{Group: late.Group(), From: late.WindowStart}}, touched())
	save(t, s, early)
	save(t, s, late)
	require.Equal(t, []analyzer.TouchedGroup{{Group: late.Group(), From: early.WindowStart}}, touched())
	save(t, s, Finding("KMS-D01", "two", day))
	require.Len(t, touched(), 2)
	require.NoError(t, s.ClearTouched(t.Context(), []string{late.Group(), "g-unknown"}))
	require.Len(t, touched(), 1)
	save(t, s, early, late)
	require.Len(t, touched(), 1, "what did not change marks nothing")
	late.Count++
	save(t, s, late)
	require.Len(t, touched(), 2)

	early.Entity = map[string]string{"key_arn": "another"}
	require.NoError(t, s.ClearTouched(t.Context(), []string{late.Group(), early.Group()}))
	save(t, s, early)
	marked := map[string]bool{}
	for _, g := range touched() {
		marked[g.Group] = true
	}
	require.True(t, marked[late.Group()] && marked[early.Group()], "a finding that moves marks the group it leaves too")
	refs, err := s.GroupFindings(t.Context(), late.Group(), time.Time{})
	require.NoError(t, err)
	require.Len(t, refs, 1)
}

// record returns a pageable alert in its first revision.
func record(id string, at time.Time) analyzer.AlertRecord {
	f := Finding("KMS-D01", "one", at)
	return analyzer.AlertRecord{
		Alert: analyzer.Alert{
			ID: id, Detection: "KMS-D01", Severity: analyzer.High, Action: analyzer.ActionPage, Reason: "severity high",
			State: analyzer.AlertOpen, FindingIDs: []string{f.ID}, FirstTime: at, LastTime: at, Count: 1,
			Entity: f.Entity, Latest: f, Revision: 1, Thread: id,
		},
		Group: f.Group(), Start: at,
	}
}

func alertsAreConditional(t *testing.T, s analyzer.Store) {
	ctx := t.Context()
	r := record("a-one", day)
	r.Version = 3
	require.ErrorIs(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}), analyzer.ErrConflict, "there is none to replace")
	_, err := s.Alert(ctx, r.ID)
	require.ErrorIs(t, err, analyzer.ErrNotFound)

	r.Version = 0
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}))
	require.ErrorIs(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}), analyzer.ErrConflict, "it exists")
	got, err := s.Alert(ctx, r.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Version)
	r.Version = 1
	require.Equal(t, r, got)

	first, second := got, got
	first.Count, second.Count = 2, 3
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{first}))
	err = s.PutAlerts(ctx, []analyzer.AlertRecord{second, record("a-two", day)})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.ErrorContains(t, err, r.ID)
	got, err = s.Alert(ctx, r.ID)
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Count)
	_, err = s.Alert(ctx, "a-two")
	require.ErrorIs(t, err, analyzer.ErrNotFound, "what comes after a conflict is not written")
	require.NoError(t, s.PutAlerts(ctx, nil))
}

func alertsAreFound(t *testing.T, s analyzer.Store) {
	b, a, c := record("a-b", day), record("a-a", day), record("a-c", day.Add(-time.Hour))
	c.Group = "g-other"
	require.NoError(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{b, a, c}))
	names := func(alerts []analyzer.AlertRecord, err error) (ids []string) {
		require.NoError(t, err)
		for _, r := range alerts {
			ids = append(ids, r.ID)
		}
		return ids
	}
	require.Equal(t, []string{"a-c", "a-a", "a-b"}, names(s.Alerts(t.Context(), time.Time{})))
	require.Equal(t, []string{"a-a", "a-b"}, names(s.Alerts(t.Context(), day)))
	require.Equal(t, []string{"a-a", "a-b"}, names(s.GroupAlerts(t.Context(), a.Group)))
	require.Equal(t, []string{"a-c"}, names(s.GroupAlerts(t.Context(), "g-other")))
	require.Empty(t, names(s.GroupAlerts(t.Context(), "g-othe")))
}

func alertsAreDue(t *testing.T, s analyzer.Store) {
	ctx := t.Context()
	due := func() (ids []string) {
		alerts, err := s.DueAlerts(ctx)
		require.NoError(t, err)
		for _, r := range alerts {
			ids = append(ids, r.ID)
		}
		return ids
	}
	page, digest, none := record("a-page", day), record("a-digest", day), record("a-none", day)
	digest.Action, none.Action = analyzer.ActionDigest, analyzer.ActionNone
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{page, none, digest}))
	require.Equal(t, []string{"a-digest", "a-page"}, due())

	page.Version, page.Notified, page.Told = 1, 1, analyzer.ActionPage
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{page}))
	require.Equal(t, []string{"a-digest"}, due())
	page.Version, page.Revision, page.Action = 2, 2, analyzer.ActionNone
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{page}))
	require.Equal(t, []string{"a-digest", "a-page"}, due(), "an earlier message is out of date")
}

func hiddenIsSummed(t *testing.T, s analyzer.Store) {
	ctx := t.Context()
	a, b := record("a-a", day), record("a-b", day)
	a.Hidden = map[string]int64{"staged": 2, "rule nightly": 1}
	b.Hidden = map[string]int64{"staged": 3}
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{a, b}))
	counts, err := s.Hidden(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"staged": 5, "rule nightly": 1}, counts)
	a.Version, a.Hidden = 1, map[string]int64{"staged": 1}
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{a}))
	counts, err = s.Hidden(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"staged": 4}, counts)
}

func printing(t *testing.T, s analyzer.Store) {
	ctx := t.Context()
	expect := func(wantFindings, wantAlerts map[string]string) {
		t.Helper()
		findings, alerts, err := s.Unprinted(ctx)
		require.NoError(t, err)
		require.Equal(t, wantFindings, findings)
		require.Equal(t, wantAlerts, alerts)
	}
	none := map[string]string{}
	expect(none, none)
	f, r := Finding("KMS-D01", "one", day), record("a-one", day)
	save(t, s, f)
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}))
	expect(map[string]string{f.ID: ""}, map[string]string{r.ID: ""})
	require.NoError(t, s.MarkPrinted(ctx, map[string]string{f.ID: "first"}, nil))
	expect(none, map[string]string{r.ID: ""})
	require.NoError(t, s.MarkPrinted(ctx, nil, map[string]string{r.ID: "second"}))
	save(t, s, f)
	r.Version, r.Notified = 1, 1
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}))
	expect(none, none)
	f.Count++
	save(t, s, f)
	r.Version, r.Revision = 2, 2
	require.NoError(t, s.PutAlerts(ctx, []analyzer.AlertRecord{r}))
	expect(map[string]string{f.ID: "first"}, map[string]string{r.ID: "second"})
}

func values(t *testing.T, s analyzer.Store) {
	ctx := t.Context()
	got, err := s.Get(ctx, "slack", "a-one")
	require.NoError(t, err)
	require.Nil(t, got)
	require.NoError(t, s.Put(ctx, "slack", "a-one", []byte(`{"ts":"1"}`)))
	require.NoError(t, s.Put(ctx, "slack", "a-two", []byte(`2`)))
	require.NoError(t, s.Put(ctx, "slac", "a-one", []byte(`3`)))
	require.NoError(t, s.Put(ctx, "slack", "a-one", []byte(`{"ts":"4"}`)))
	got, err = s.Get(ctx, "slack", "a-one")
	require.NoError(t, err)
	require.JSONEq(t, `{"ts":"4"}`, string(got))
	all, err := s.List(ctx, "slack")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a-one": []byte(`{"ts":"4"}`), "a-two": []byte(`2`)}, all)
	require.NoError(t, s.Put(ctx, "slack", "a-one", nil))
	got, err = s.Get(ctx, "slack", "a-one")
	require.NoError(t, err)
	require.Nil(t, got)
	all, err = s.List(ctx, "none")
	require.NoError(t, err)
	require.Empty(t, all)
}

func nothingIsShared(t *testing.T, s analyzer.Store) {
	f := Finding("KMS-D01", "one", day)
	save(t, s, f)
	f.Entity["key_arn"] = "changed"
	value := []byte("1")
	require.NoError(t, s.Put(t.Context(), "slack", "a", value))
	value[0] = '2'
	for range 2 {
		got, err := s.Finding(t.Context(), f.ID)
		require.NoError(t, err)
		require.Equal(t, Finding("KMS-D01", "one", day).Entity, got.Entity)
		got.Entity["key_arn"] = "changed"
		kept, err := s.Get(t.Context(), "slack", "a")
		require.NoError(t, err)
		require.Equal(t, "1", string(kept))
		kept[0] = '2'
	}
}

func cancelled(t *testing.T, s analyzer.Store) {
	for n := 1; ; n++ {
		err := everyCall(t, &Faulty{Store: s, FailAt: n, Cancel: true})
		if err == nil {
			require.Equal(t, calls+1, n, "every call was cancelled once")
			return
		}
		require.ErrorIs(t, err, context.Canceled, "call %d", n)
	}
}

// calls is how many everyCall makes.
const calls = 18

// everyCall calls each method of a store once and returns the first error.
func everyCall(t *testing.T, s analyzer.Store) error {
	t.Helper()
	ctx := t.Context()
	f, r := Finding("KMS-D01", "one", day), record("a-one", day)
	if have, err := s.Alerts(ctx, time.Time{}); err != nil {
		return err
	} else if len(have) > 0 {
		r = have[0]
	}
	for _, call := range []func() error{
		func() error { _, err := s.SaveFindings(ctx, []analyzer.Finding{f}); return err },
		func() error { _, err := s.Finding(ctx, f.ID); return err },
		func() error { _, err := s.Findings(ctx, f.Detection, day); return err },
		func() error { _, err := s.FindingIDs(ctx, f.Detection, day); return err },
		func() error { _, err := s.GroupFindings(ctx, f.Group(), day); return err },
		func() error { _, err := s.TouchedGroups(ctx); return err },
		func() error { return s.ClearTouched(ctx, []string{f.Group()}) },
		func() error { return s.PutAlerts(ctx, []analyzer.AlertRecord{r}) },
		func() error { _, err := s.Alert(ctx, r.ID); return err },
		func() error { _, err := s.GroupAlerts(ctx, r.Group); return err },
		func() error { _, err := s.DueAlerts(ctx); return err },
		func() error { _, err := s.Hidden(ctx); return err },
		func() error { _, _, err := s.Unprinted(ctx); return err },
		func() error { return s.MarkPrinted(ctx, map[string]string{f.ID: "mark"}, nil) },
		func() error { _, err := s.Get(ctx, "slack", "a"); return err },
		func() error { return s.Put(ctx, "slack", "a", []byte("1")) },
		func() error { _, err := s.List(ctx, "slack"); return err },
	} {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}
