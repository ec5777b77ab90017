//go:build e2e

package awssdk_test

import (
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	reader "github.com/keytrail/keytrail/analyzer/cloud/awssdk/cloudtrail"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/secrets"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/cloud/trails"
)

// moto 5.2.5 does all that these tests ask for as AWS does; the differences
// that it has otherwise are avoided by what package cloudtest asks for. What it
// cannot be made to do, as throttling or losing an answer, is tried against the
// fake services of the other tests.

// moto returns clients of the moto server that KEYTRAIL_E2E_ENDPOINT names, as
// http://localhost:5555, or skips the test.
func moto(t *testing.T) *awssdk.Clients {
	t.Helper()
	endpoint := os.Getenv("KEYTRAIL_E2E_ENDPOINT")
	if endpoint == "" {
		t.Skip("KEYTRAIL_E2E_ENDPOINT is not set: no moto server to try the AWS SDK with")
	}
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
	return clients(t, awssdk.Options{MaxPause: 10 * time.Millisecond})
}

var made atomic.Int64

// fresh returns a name that nothing on the server has.
func fresh(kind string) string {
	return fmt.Sprintf("keytrail-%s-%d-%d", kind, time.Now().UnixNano(), made.Add(1))
}

func TestMotoBucket(t *testing.T) {
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions %t", versions), func(t *testing.T) {
			cloudtest.RunBucket(t, func(t *testing.T) cloud.Bucket {
				t.Helper()
				client, name := moto(t).S3(), fresh("bucket")
				_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{
					Bucket:                    &name,
					CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
				})
				require.NoError(t, err)
				if versions {
					_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
						Bucket: &name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
					})
					require.NoError(t, err)
				}
				return awssdk.NewBucket(client, name)
			})
		})
	}
}

func TestMotoTable(t *testing.T) {
	cloudtest.RunTable(t, func(t *testing.T) cloud.Table {
		t.Helper()
		client, name := moto(t).DynamoDB(), fresh("table")
		text := dynamodbtypes.ScalarAttributeTypeS
		_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &name, BillingMode: dynamodbtypes.BillingModePayPerRequest,
			AttributeDefinitions: []dynamodbtypes.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: text}, {AttributeName: aws.String("sk"), AttributeType: text},
			},
			KeySchema: []dynamodbtypes.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: dynamodbtypes.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: dynamodbtypes.KeyTypeRange},
			},
		})
		require.NoError(t, err)
		return awssdk.NewTable(client, name)
	})
}

func TestMotoQueue(t *testing.T) {
	cloudtest.RunQueue(t, func(t *testing.T, fifo bool, maxReceives int) (queue, dead cloud.Queue) {
		t.Helper()
		client := moto(t).SQS()
		create := func(attributes map[string]string) string {
			name := fresh("queue")
			if fifo {
				name += ".fifo"
				attributes["FifoQueue"] = "true"
			}
			out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
			require.NoError(t, err)
			return aws.ToString(out.QueueUrl)
		}
		if maxReceives == 0 {
			return awssdk.NewQueue(client, create(map[string]string{})), nil
		}
		deadURL := create(map[string]string{})
		out, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &deadURL, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
		require.NoError(t, err)
		redrive, err := json.Marshal(map[string]any{"deadLetterTargetArn": out.Attributes["QueueArn"], "maxReceiveCount": maxReceives})
		require.NoError(t, err)
		return awssdk.NewQueue(client, create(map[string]string{"RedrivePolicy": string(redrive)})), awssdk.NewQueue(client, deadURL)
	}, time.Sleep)
}

func TestMotoSecrets(t *testing.T) {
	c := moto(t)
	secret, err := secretsmanager.NewFromConfig(c.Config).CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String(fresh("secret")), SecretString: aws.String(`{"token":"` + hushed + `"}`),
	})
	require.NoError(t, err)
	name := "/" + fresh("parameter")
	_, err = ssm.NewFromConfig(c.Config).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: &name, Type: ssmtypes.ParameterTypeSecureString, Value: aws.String(hushed + "\n"),
	})
	require.NoError(t, err)
	parameter, err := ssm.NewFromConfig(c.Config).GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name})
	require.NoError(t, err)

	secrets := secrets.New(c)
	for _, arn := range []string{aws.ToString(secret.ARN), aws.ToString(parameter.Parameter.ARN)} {
		value, err := secrets.Secret(t.Context(), arn)
		require.NoError(t, err, arn)
		require.Equal(t, hushed, value)
		_, err = secrets.Secret(t.Context(), arn+"-not")
		require.ErrorIs(t, err, analyzer.ErrNotFound)
	}
}

func TestMotoTrails(t *testing.T) {
	c := moto(t)
	bucket, name := fresh("trails"), fresh("trail")
	_, err := c.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	})
	require.NoError(t, err)
	_, err = cloudtrail.NewFromConfig(c.Config).CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: &name, S3BucketName: &bucket, IsMultiRegionTrail: aws.Bool(true)})
	require.NoError(t, err)
	find := func() trails.Trail {
		t.Helper()
		all, err := reader.New(c).Trails(t.Context())
		require.NoError(t, err)
		for _, trail := range all {
			if trail.Name == name {
				return trail
			}
		}
		t.Fatal("the trail is not among the trails")
		return trails.Trail{}
	}
	require.Equal(t, []string{"It records nothing: logging was never started."}, trails.Blind(find()))

	_, err = cloudtrail.NewFromConfig(c.Config).StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: &name})
	require.NoError(t, err)
	require.Empty(t, trails.Blind(find()))

	_, err = cloudtrail.NewFromConfig(c.Config).PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{
		TrailName: &name, EventSelectors: []cloudtrailtypes.EventSelector{{
			ReadWriteType: cloudtrailtypes.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
			ExcludeManagementEventSources: []string{"kms.amazonaws.com"},
		}},
	})
	require.NoError(t, err)
	require.Len(t, trails.Blind(find()), 1)
}
