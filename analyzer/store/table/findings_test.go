package table_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

// many returns n findings of some groups, one hour apart.
func many(n, groups int) (findings []analyzer.Finding) {
	for i := range n {
		findings = append(findings, storetest.Finding(detection, fmt.Sprint("key", i%groups), day.Add(time.Duration(i)*time.Hour)))
	}
	return findings
}

func groupOf(f analyzer.Finding) string { return f.Group() }

func TestWhatDidNotChangeIsReadInBulkAndNotWritten(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	findings := many(250, 7)
	save(t, table.New(db, options(1)), findings...)
	counted, calls := counting(db)
	for _, change := range save(t, table.New(counted, options(2)), findings...) {
		require.Equal(t, analyzer.ChangeSame, change)
	}
	require.Equal(t, map[string]int{"dynamodb.GetMany": 3}, calls)
}

func TestNewFindingsShareTransactions(t *testing.T) {
	for groups, most := range map[int]int{1: 8, 7: 14, 125: 9, 250: 10} { // 3 writes a finding, 1 a group
		db := cloudtest.NewTable(cloudtest.TableOptions{})
		counted, calls := counting(db)
		findings := many(250, groups)
		save(t, table.New(counted, options(1)), findings...)
		require.LessOrEqual(t, calls["dynamodb.Write"], most, "%d groups", groups)
		got, err := table.New(db, options(1)).Findings(t.Context(), detection, time.Time{})
		require.NoError(t, err)
		require.Equal(t, findings, got)
	}
}

func TestWithOneWorkerCallsAreMadeInTheSameOrder(t *testing.T) {
	run := func() (writes []string) {
		db := recorder{Table: cloudtest.NewTable(cloudtest.TableOptions{}), writes: &writes}
		save(t, table.New(db, options(1)), many(300, 40)...)
		return writes
	}
	first := run()
	require.NotEmpty(t, first)
	for range 5 {
		require.Equal(t, first, run())
	}
}

// recorder notes the keys of writes.
type recorder struct {
	cloud.Table
	writes *[]string
}

func (r recorder) Write(ctx context.Context, writes ...cloud.Write) error {
	for _, w := range writes {
		*r.writes = append(*r.writes, w.Partition+" "+w.Sort)
	}
	return r.Table.Write(ctx, writes...)
}

// DynamoDB refuses a transaction while another has one of its items.
func TestWorkersDoNotMeetInAnyItem(t *testing.T) {
	db := &exclusive{Table: cloudtest.NewTable(cloudtest.TableOptions{}), busy: map[cloud.Key]bool{}}
	o := options(1)
	o.Workers = 8
	s := table.New(db, o)
	findings := append(many(900, 100), many(1000, 1)[900:]...)
	save(t, s, findings...)
	for i := range findings {
		findings[i].Count++
		if i%50 == 0 {
			findings[i].Entity = map[string]string{"key_arn": "elsewhere"} // moves
		}
	}
	save(t, s, findings...)
	require.Empty(t, db.met)
	require.Greater(t, db.most, 1, "nothing was written at the same time")
	got, err := s.Findings(t.Context(), detection, time.Time{})
	require.NoError(t, err)
	require.Equal(t, findings, got)
}

// exclusive is a table that notes writes to one item at the same time.
type exclusive struct {
	cloud.Table
	mu   sync.Mutex
	busy map[cloud.Key]bool
	met  []cloud.Key
	now  int // writes under way
	most int
}

func (e *exclusive) Write(ctx context.Context, writes ...cloud.Write) error {
	e.enter(writes, true)
	for range 100 {
		runtime.Gosched()
	}
	defer e.enter(writes, false)
	return e.Table.Write(ctx, writes...)
}

func (e *exclusive) enter(writes []cloud.Write, in bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range writes {
		if in && e.busy[w.Key] {
			e.met = append(e.met, w.Key)
		}
		e.busy[w.Key] = in
	}
	if !in {
		e.now--
		return
	}
	e.now++
	e.most = max(e.most, e.now)
}

func TestAFindingThatComesTwiceInOneCallIsSavedTwice(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	first, second := at(0), at(0)
	second.Count = 2
	withdrawn := second
	withdrawn.Status = analyzer.FindingWithdrawn
	require.Equal(t, []analyzer.Change{"new", "new", "same", "amended", "withdrawn"}, save(t, s, first, at(1), first, second, withdrawn))
	got, err := s.Finding(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, withdrawn, got)
}

func TestAFindingThatMovesIsInOnePlaceOnly(t *testing.T) {
	for name, move := range map[string]func(*analyzer.Finding){
		"to another window":    func(f *analyzer.Finding) { f.WindowStart = f.WindowStart.Add(-time.Minute) },
		"to another detection": func(f *analyzer.Finding) { f.Detection = "KMS-D02" },
		"to another entity":    func(f *analyzer.Finding) { f.Entity = map[string]string{"key_arn": "another"} },
	} {
		t.Run(name, func(t *testing.T) {
			db := cloudtest.NewTable(cloudtest.TableOptions{})
			s := table.New(db, options(1))
			before, stays := at(0), at(5)
			save(t, s, before, stays)
			require.NoError(t, s.ClearTouched(t.Context(), []string{before.Group()}))
			after := before
			move(&after)
			require.Equal(t, []analyzer.Change{"amended"}, save(t, s, after))
			require.Equal(t, []analyzer.Change{"same"}, save(t, s, after))
			got, err := s.Finding(t.Context(), before.ID)
			require.NoError(t, err)
			require.Equal(t, after, got)

			held := map[string]int{}
			for _, id := range []string{detection, "KMS-D02"} {
				ids, err := s.FindingIDs(t.Context(), id, time.Time{})
				require.NoError(t, err)
				for _, id := range ids {
					held[id]++
				}
			}
			require.Equal(t, map[string]int{before.ID: 1, stays.ID: 1}, held)
			listed := map[string]int{}
			groups := map[string]bool{before.Group(): true, after.Group(): true}
			for group := range groups {
				refs, err := s.GroupFindings(t.Context(), group, time.Time{})
				require.NoError(t, err)
				for _, ref := range refs {
					listed[ref.ID]++
				}
			}
			require.Equal(t, map[string]int{before.ID: 1, stays.ID: 1}, listed)
			touched, err := s.TouchedGroups(t.Context())
			require.NoError(t, err)
			require.Len(t, touched, len(groups), "the group that it left too")
			for _, g := range touched {
				require.False(t, g.From.After(before.WindowStart))
				require.False(t, g.Group == after.Group() && g.From.After(after.WindowStart))
			}
		})
	}
}

func TestAMarkThatIsClearedBeforeTheFindingIsThereIsSetAgain(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	other := table.New(db, options(0))
	save(t, table.New(db, options(1)), at(0)) // marks the group from an earlier window
	mine := table.New(onWrite(db, 1, func() {
		require.NoError(t, other.ClearTouched(t.Context(), []string{groupOf(at(0))}))
	}), options(1))
	save(t, mine, at(3))
	touched, err := other.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Equal(t, []analyzer.TouchedGroup{{Group: groupOf(at(0)), From: at(3).WindowStart}}, touched)
}

func TestAMarkThatIsSetMeanwhileStaysTheEarliest(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	mine := table.New(onWrite(db, 1, func() { save(t, table.New(db, options(1)), at(0)) }), options(1))
	save(t, mine, at(3))
	touched, err := mine.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Equal(t, []analyzer.TouchedGroup{{Group: groupOf(at(0)), From: at(0).WindowStart}}, touched)
	refs, err := mine.GroupFindings(t.Context(), groupOf(at(0)), time.Time{})
	require.NoError(t, err)
	require.Len(t, refs, 2)
}

func TestAMarkIsNotLaterThanItsWindowByAFractionOfAMillisecond(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	for _, start := range []time.Time{day.Add(1999 * time.Microsecond), time.Date(1969, 1, 1, 0, 0, 0, 1, time.UTC)} {
		f := storetest.Finding(detection, start.String(), start)
		save(t, s, f)
		touched, err := s.TouchedGroups(t.Context())
		require.NoError(t, err)
		require.Len(t, touched, 1)
		require.False(t, touched[0].From.After(start))
		require.Less(t, start.Sub(touched[0].From), time.Millisecond)
		require.NoError(t, s.ClearTouched(t.Context(), []string{f.Group()}))
	}
}

func TestAMarkThatAlwaysChangesFailsInTheEnd(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	restless := db.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "dynamodb.Write" {
			mark := cloud.Item{Key: cloud.Key{Partition: "TOUCHED", Sort: groupOf(at(0))}, Number: rand.Int64(), Body: []byte("0")}
			_, err := db.Get(t.Context(), mark.Key)
			return db.Write(t.Context(), cloud.Write{Item: mark, Delete: err == nil})
		}
		return nil
	}})
	_, err := table.New(restless, options(1)).SaveFindings(t.Context(), []analyzer.Finding{at(0)})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.NotErrorIs(t, err, table.ErrFenced)
}

func TestAMarkThatIsSetMeanwhileStays(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	slow, quick := table.New(db, options(1)), table.New(db, options(1))
	save(t, slow, at(0))
	touched, err := slow.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Len(t, touched, 1)
	// Another process saves a finding of the group, and dies before it heeds its mark.
	save(t, quick, at(1))
	require.Equal(t, groupOf(at(0)), groupOf(at(1)))
	require.NoError(t, slow.ClearTouched(t.Context(), []string{groupOf(at(0))}))
	touched, err = slow.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Len(t, touched, 1, "what the other saved is not in the alerts yet")
	require.NoError(t, slow.ClearTouched(t.Context(), []string{groupOf(at(0))}))
	touched, err = slow.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Empty(t, touched)
}

func TestShardsDoNotSeeWhatOthersFound(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	one, two := options(1), options(1)
	one.Shard, two.Shard = "1", "2"
	a, b := table.New(db, one), table.New(db, two)
	save(t, a, at(0))
	save(t, b, at(1))
	for s, want := range map[*table.Store]analyzer.Finding{a: at(0), b: at(1)} {
		ids, err := s.FindingIDs(t.Context(), detection, time.Time{})
		require.NoError(t, err)
		require.Equal(t, []string{want.ID}, ids)
		refs, err := s.GroupFindings(t.Context(), groupOf(at(0)), time.Time{})
		require.NoError(t, err)
		require.Len(t, refs, 2, "alerts are folded from the findings of all")
		_, err = s.Finding(t.Context(), at(1).ID)
		require.NoError(t, err)
	}
}

func TestAProcessThatLostItsLeaseCannotOverwrite(t *testing.T) {
	for name, newer := range map[string]func(f *analyzer.Finding){
		"amended":   func(f *analyzer.Finding) { f.Count = 7 },
		"withdrawn": func(f *analyzer.Finding) { f.Status = analyzer.FindingWithdrawn },
		"moved":     func(f *analyzer.Finding) { f.WindowStart = f.WindowStart.Add(time.Hour) },
		"regrouped": func(f *analyzer.Finding) { f.Entity = map[string]string{"key_arn": "another"} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, known := range []bool{false, true} {
				for _, between := range []bool{false, true} { // what the older one reads and what it writes
					db := cloudtest.NewTable(cloudtest.TableOptions{})
					if known {
						save(t, table.New(db, options(1)), at(0))
					}
					want := at(0)
					newer(&want)
					overtake := func() { save(t, table.New(db, options(2)), want) }
					older := table.New(db, options(1))
					if between {
						older = table.New(onWrite(db, 1, overtake), options(1))
					} else {
						overtake()
					}
					stale := at(0)
					stale.Count = 3
					_, err := older.SaveFindings(t.Context(), []analyzer.Finding{stale})
					require.ErrorIs(t, err, table.ErrFenced)
					require.NotErrorIs(t, err, analyzer.ErrConflict)
					require.ErrorContains(t, err, "has fence 2 and ours is 1")

					got, err := older.Finding(t.Context(), want.ID)
					require.NoError(t, err)
					require.Equal(t, want, got)
					all, err := older.Findings(t.Context(), detection, time.Time{})
					require.NoError(t, err)
					require.Equal(t, []analyzer.Finding{want}, all)
					refs, err := older.GroupFindings(t.Context(), want.Group(), time.Time{})
					require.NoError(t, err)
					require.Equal(t, []analyzer.FindingRef{want.Ref()}, refs)
				}
			}
		})
	}
}

func TestTheNewHolderOfALeaseWritesWhatTheOldOneWrote(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	save(t, table.New(db, options(7)), at(0))
	f := at(0)
	f.Count = 2
	require.Equal(t, []analyzer.Change{"amended"}, save(t, table.New(db, options(8)), f))
	_, err := table.New(db, options(0)).SaveFindings(t.Context(), []analyzer.Finding{at(0)})
	require.ErrorIs(t, err, table.ErrFenced, "a reader has no lease")
}

func TestAFindingMayBeLargerThanAnItem(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	f := at(0)
	f.Evidence["list"] = strings.Repeat("arn:aws:kms:eu-west-1:111122223333:key/one ", 20_000)
	require.Equal(t, []analyzer.Change{"new"}, save(t, s, f))
	require.Equal(t, []analyzer.Change{"same"}, save(t, s, f))
	got, err := s.Finding(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, f, got)
	all, err := s.Findings(t.Context(), detection, day)
	require.NoError(t, err)
	require.Equal(t, []analyzer.Finding{f}, all)
}

func TestLargeFindingsFitIntoTheirTransactions(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	findings := many(30, 1)
	for i := range findings {
		findings[i].Evidence["list"] = strings.Repeat("x", 300_000)
	}
	save(t, s, findings...)
	ids, err := s.FindingIDs(t.Context(), detection, time.Time{})
	require.NoError(t, err)
	require.Len(t, ids, 30)
}

func TestANameThatIsNoKeyIsRefused(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	for _, change := range []func(*analyzer.Finding){
		func(f *analyzer.Finding) { f.Detection = "" },
		func(f *analyzer.Finding) { f.Detection = "a\x00b" },
		func(f *analyzer.Finding) { f.ID = "" },
	} {
		f := at(0)
		change(&f)
		_, err := s.SaveFindings(t.Context(), []analyzer.Finding{f})
		require.ErrorContains(t, err, "is empty or has a zero byte")
	}
	for _, change := range []func(*analyzer.AlertRecord){
		func(r *analyzer.AlertRecord) { r.Group = "" },
		func(r *analyzer.AlertRecord) { r.ID = "" },
	} {
		r := record("a-one")
		change(&r)
		require.ErrorContains(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{r}), "is empty or has a zero byte")
	}
}

func TestTimesBeyondTheCalendarBoundTheListsOfFindings(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	save(t, s, at(0))
	for _, from := range []time.Time{{}, time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), day.In(time.FixedZone("east", 3600))} {
		ids, err := s.FindingIDs(t.Context(), detection, from)
		require.NoError(t, err)
		require.Len(t, ids, 1)
	}
	for _, from := range []time.Time{day.Add(1), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC)} {
		ids, err := s.FindingIDs(t.Context(), detection, from)
		require.NoError(t, err)
		require.Empty(t, ids)
	}
}

func TestAFindingThatMovesWhileItIsReadIsFound(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	save(t, table.New(db, options(1)), at(0))
	moved := at(0)
	moved.WindowStart = moved.WindowStart.Add(time.Hour)
	gets := 0
	s := table.New(db.With(cloudtest.Hooks{Before: func(op string) error {
		if gets++; gets == 2 { // its pointer was read
			save(t, table.New(db, options(1)), moved)
		}
		return nil
	}}), options(0))
	got, err := s.Finding(t.Context(), moved.ID)
	require.NoError(t, err)
	require.Equal(t, moved, got)
}
