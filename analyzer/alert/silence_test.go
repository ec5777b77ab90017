package alert

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

func TestASilenceCoversWhatItNames(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	const arn = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0a1b"
	f := analyzer.FindingRef{
		LastTime: at, Account: "111122223333", Key: arn,
		Principal: "arn:aws:iam::111122223333:role/deploy",
	}
	names := func(key string) []string {
		if key == arn {
			return []string{"alias/orders"}
		}
		return nil
	}
	for _, test := range []struct {
		name    string
		silence analyzer.Silence
		want    bool
	}{
		{"nothing named covers all", analyzer.Silence{}, true},
		{"the detection", analyzer.Silence{Detection: "KMS-D01"}, true},
		{"any detection", analyzer.Silence{Detection: "*"}, true},
		{"another detection", analyzer.Silence{Detection: "KMS-D02"}, false},
		{"the account", analyzer.Silence{Account: "111122223333"}, true},
		{"another account", analyzer.Silence{Account: "444455556666"}, false},
		{"the principal", analyzer.Silence{Principal: f.Principal}, true},
		{"a pattern of principals", analyzer.Silence{Principal: "arn:*:role/dep*"}, true},
		{"a pattern with an end that does not fit", analyzer.Silence{Principal: "arn:*:role/dep*x"}, false},
		{"a part of the principal is not the principal", analyzer.Silence{Principal: "arn:aws:iam::111122223333:role/dep"}, false},
		{"the key by ARN", analyzer.Silence{Key: arn}, true},
		{"the key by a pattern", analyzer.Silence{Key: "arn:aws:kms:*:111122223333:key/*"}, true},
		{"the key by id", analyzer.Silence{Key: "mrk-0a1b"}, true},
		{"a part of the id is not the id", analyzer.Silence{Key: "mrk-0a1"}, false},
		{"the key by alias", analyzer.Silence{Key: "alias/orders"}, true},
		{"another alias", analyzer.Silence{Key: "alias/order"}, false},
		{"the key by account and alias", analyzer.Silence{Key: "111122223333:alias/orders"}, true},
		{"the alias in another account", analyzer.Silence{Key: "444455556666:alias/orders"}, false},
		{"it has begun", analyzer.Silence{From: at}, true},
		{"it begins later", analyzer.Silence{From: at.Add(time.Second)}, false},
		{"it goes on", analyzer.Silence{Until: at.Add(time.Second)}, true},
		{"it has ended", analyzer.Silence{Until: at}, false},
		{"all that is named must fit", analyzer.Silence{Detection: "KMS-D01", Account: "444455556666"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := silencer{silences: []Silence{{Silence: test.silence}}, keyNames: names}
			require.Equal(t, test.want, s.covers("KMS-D01", "g-one", f) != nil)
		})
	}
	s := silencer{silences: []Silence{{Group: "g-one"}}}
	require.NotNil(t, s.covers("KMS-D01", "g-one", f))
	require.Nil(t, s.covers("KMS-D01", "g-two", f))
	s = silencer{silences: []Silence{{Silence: analyzer.Silence{Key: "alias/orders"}}}}
	require.Nil(t, s.covers("KMS-D01", "g-one", f), "without key names an alias fits nothing")
	s.keyNames = names
	require.Nil(t, s.covers("KMS-D01", "g-one", analyzer.FindingRef{}), "a finding without a key is not about a key")
}
