package table

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer/cloud"
)

func newsKey(id string) cloud.Key { return cloud.Key{Partition: partitionNews, Sort: id} }

// printedKey is where the mark of a finding (kind f) or alert (kind a) is.
func printedKey(kind, id string) cloud.Key {
	return cloud.Key{Partition: partitionPrinted, Sort: kind + id}
}

// Unprinted implements analyzer.PrintStore. An alert is unprinted when its
// revision is not the one that was printed, so that writing one costs nothing.
func (s *Store) Unprinted(ctx context.Context) (findings, alerts map[string]string, err error) {
	findings, alerts = map[string]string{}, map[string]string{}
	if !s.o.Print {
		return findings, alerts, ctx.Err()
	}
	news, err := s.table.Query(ctx, partitionNews, "", "")
	if err != nil {
		return nil, nil, fmt.Errorf("read what was not printed: %w", err)
	}
	items, err := s.table.Query(ctx, partitionPrinted, "", "")
	if err != nil {
		return nil, nil, fmt.Errorf("read what was printed: %w", err)
	}
	printed := make(map[string]cloud.Item, len(items))
	for _, item := range items {
		printed[item.Sort] = item
	}
	all, err := s.Alerts(ctx, time.Time{})
	if err != nil {
		return nil, nil, err
	}
	for _, item := range news {
		findings[item.Sort] = string(printed["f"+item.Sort].Body)
	}
	for i := range all {
		id := all[i].ID
		if mark, ok := printed["a"+id]; !ok || mark.Number != all[i].Revision {
			alerts[id] = string(mark.Body)
		}
	}
	return findings, alerts, nil
}

// MarkPrinted implements analyzer.PrintStore. The marks are written in parts,
// so a failure may leave some of them unwritten.
func (s *Store) MarkPrinted(ctx context.Context, findings, alerts map[string]string) error {
	if !s.o.Print {
		return ctx.Err()
	}
	var writes []cloud.Write
	expires := s.expiry(time.Time{})
	for _, id := range slices.Sorted(maps.Keys(findings)) {
		mark := cloud.Item{Key: printedKey("f", id), Body: []byte(findings[id]), Expires: expires}
		writes = append(writes, cloud.Write{Item: mark}, cloud.Write{Item: cloud.Item{Key: newsKey(id)}, Delete: true})
	}
	revisions, err := s.revisions(ctx, slices.Sorted(maps.Keys(alerts)))
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(alerts)) {
		mark := cloud.Item{Key: printedKey("a", id), Number: revisions[id], Body: []byte(alerts[id]), Expires: expires}
		writes = append(writes, cloud.Write{Item: mark})
	}
	for part := range slices.Chunk(writes, cloud.MaxTransaction) {
		if err := s.table.Write(ctx, part...); err != nil {
			return fmt.Errorf("mark what was printed: %w", err)
		}
	}
	return nil
}

// revisions returns the revisions of alerts by id.
func (s *Store) revisions(ctx context.Context, ids []string) (map[string]int64, error) {
	items := make([]cloud.Item, len(ids))
	for i, id := range ids {
		items[i].Sort = id
	}
	alerts, err := s.named(ctx, items)
	if err != nil {
		return nil, err
	}
	revisions := make(map[string]int64, len(alerts))
	for i := range alerts {
		revisions[alerts[i].ID] = alerts[i].Revision
	}
	return revisions, nil
}
