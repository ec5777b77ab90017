package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/memory"
)

func TestChunksKeepDaysWhole(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 1, 0, 0, 0, time.UTC) }
	object := func(d int, rows int64) analyzer.Object {
		return analyzer.Object{Path: fmt.Sprint(d, "/", rows), MinTime: day(d), Rows: rows}
	}
	cases := []struct {
		name    string
		objects []analyzer.Object
		want    [][]int64
	}{
		{"nothing has no chunks", nil, nil},
		{"little is one chunk", []analyzer.Object{object(1, 10), object(2, 20)}, [][]int64{{10, 20}}},
		{"a full day is a chunk", []analyzer.Object{object(1, 300_000), object(2, 300_000)}, [][]int64{{300_000}, {300_000}}},
		{
			"a day is not parted however large",
			[]analyzer.Object{object(1, 900_000), object(2, 5), object(1, 900_001)},
			[][]int64{{900_000, 900_001}, {5}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got [][]int64
			for _, part := range chunks(c.objects) {
				var rows []int64
				for _, o := range part {
					rows = append(rows, o.Rows)
				}
				got = append(got, rows)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// The numbers of kinds of use may meet, however unlikely: then the roll-up must
// take those that cannot.
func TestKindsOfUseWithOneNumberAreKeptApart(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	roll := func(key string) (rows []string) {
		e, err := Open(ctx, Config{LakeRoot: root, MemoryRoot: filepath.Join(root, "memory"), Threads: 1, Settings: &analyzer.Settings{}})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		file := filepath.Join(root, "uses.parquet")
		require.NoError(t, e.exec(ctx, "write a lake", createTable("made", e.usesColumns)+`;
			insert into made by name select timestamp '2026-03-02 09:00:00' + interval (n) second as event_time, 'e' || n as event_id,
			  '111122223333' as account, 'eu-west-1' as region, 'kms.amazonaws.com' as event_source, 'Decrypt' as event_name, 'direct' as lane,
			  'arn:aws:iam::111122223333:role/r' || n % 3 as principal, 'role' as principal_type, '111122223333' as principal_account,
			  'r' || n % 3 as principal_name, false as is_person, 'arn:aws:kms:eu-west-1:111122223333:key/k' || n % 2 as key_arn,
			  '' as dest_key_arn, false as owner_copy, 'secret' as data_kind, 'arn:secret/' || n % 5 as data_arn, '' as alias_name
			from range(600) r(n);
			copy made to '`+file+`' (format parquet); drop table made`))
		if key != "" {
			require.NoError(t, e.exec(ctx, "let all numbers meet", "create or replace macro profile_key(a, b, c, d, e, f, g, h, i) as "+key))
		}
		at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		res, err := e.Tick(ctx, memory.Manifest{}, Slice{Forget: true, Objects: []analyzer.Object{
			{Table: analyzer.TableUses, Path: "uses.parquet", Rows: 600, MinTime: at, MaxTime: at.Add(10 * time.Minute)},
		}})
		require.NoError(t, err)
		require.Equal(t, int64(600), res.Counts.Kept)
		require.NoError(t, e.rows(ctx, "read the views",
			"select window_start, principal, key_arn, event_count, '' from uses union all select window_start, principal, key_arn, distinct_data, data_kind from data_uses order by all",
			func(_ []string, v []any) error {
				rows = append(rows, fmt.Sprint(v...))
				return nil
			}))
		return rows
	}
	want := roll("")
	require.Len(t, want, 2*6+3*3, "2 slots of 6 pairs; 3 windows of 3 principals")
	require.Equal(t, want, roll("7::ubigint"))
}
