//go:build e2e

package table_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

// motoTable returns a new table of the moto server that KEYTRAIL_E2E_ENDPOINT
// names, or skips the test.
func motoTable(t *testing.T) *awssdk.Table {
	t.Helper()
	endpoint := os.Getenv("KEYTRAIL_E2E_ENDPOINT")
	if endpoint == "" {
		t.Skip("KEYTRAIL_E2E_ENDPOINT is not set: no moto server to keep a table on")
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}
	clients, err := awssdk.Load(t.Context(), awssdk.Options{Region: "eu-central-1"})
	require.NoError(t, err)
	name := fmt.Sprintf("keytrail-state-%d", time.Now().UnixNano())
	_, err = clients.DynamoDB().CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	require.NoError(t, err)
	return awssdk.NewTable(clients.DynamoDB(), name)
}

func TestMotoStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) analyzer.Store {
		return table.New(motoTable(t), table.Options{Fence: 1, Print: true})
	})
}

func TestMotoStoreKeepsWhatIsLarge(t *testing.T) {
	s := table.New(motoTable(t), options(1))
	findings := many(250, 40)
	save(t, s, findings...)
	got, err := s.Findings(t.Context(), detection, time.Time{})
	require.NoError(t, err)
	require.Equal(t, findings, got)
	r := record("a-large")
	r.FindingIDs = manyIDs(50_000)
	put(t, s, r)
	r.Version = 1
	require.Equal(t, r, stored(t, s, r.ID))
}

func TestMotoLeaseAndPace(t *testing.T) {
	db := motoTable(t)
	held, err := leaseOn(db).Acquire(t.Context(), "one", day)
	require.NoError(t, err)
	_, err = leaseOn(db).Acquire(t.Context(), "two", day)
	require.ErrorIs(t, err, table.ErrHeld)
	require.NoError(t, leaseOn(db).Release(t.Context(), held))
	held, err = leaseOn(db).Acquire(t.Context(), "two", day)
	require.NoError(t, err)
	require.EqualValues(t, 2, held.Epoch)
	p := table.Pace{Table: db, Gap: time.Second}
	for n := range 3 {
		require.Equal(t, day.Add(time.Duration(n)*time.Second), reserve(t, p, "C0ALERTS", day))
	}
}
