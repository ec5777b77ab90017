package localstack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/goccy/go-yaml"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/internal/localstack/slackpage"
)

// settingsKey is where the functions look for the settings.
const settingsKey = "settings/keytrail.yaml"

// defaultChannel is the channel of slacktest, and of settings that name none.
var defaultChannel = slackpage.Channel{ID: "C0ALERTS", Name: "alerts"}

// configOf is how an endpoint is spoken to.
func configOf(endpoint string) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("testing", "testing", ""),
	}
}

func (s *Stack) s3() *s3.Client {
	return s3.NewFromConfig(configOf(s.Endpoint), func(o *s3.Options) { o.UsePathStyle = true })
}
func (s *Stack) sqs() *sqs.Client { return sqs.NewFromConfig(configOf(s.Endpoint)) }

// create makes what template.yaml makes and the functions use.
func (s *Stack) create(ctx context.Context, settings []byte) error {
	for what, make := range map[string]func(context.Context) error{
		"the table": s.createTable, "the secret": s.createSecret,
	} {
		if err := make(ctx); err != nil {
			return fmt.Errorf("create %s: %w", what, err)
		}
	}
	for _, q := range queues {
		if err := s.createQueue(ctx, q); err != nil {
			return fmt.Errorf("create the queue %s: %w", q.name, err)
		}
	}
	for _, name := range []string{LakeBucket, TrailBucket} {
		_, err := s.s3().CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: Region},
		})
		if err != nil {
			return fmt.Errorf("create the bucket %s: %w", name, err)
		}
	}
	if err := s.createNotification(ctx); err != nil {
		return fmt.Errorf("let the bucket %s notify %s: %w", TrailBucket, queueIngest, err)
	}
	if err := s.createTrail(ctx); err != nil {
		return fmt.Errorf("create the trail: %w", err)
	}
	_, err := s.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(LakeBucket), Key: aws.String(settingsKey), Body: bytes.NewReader(settings)})
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}

func (s *Stack) createTable(ctx context.Context) error {
	_, err := dynamodb.NewFromConfig(configOf(s.Endpoint)).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String(Table), BillingMode: ddbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []ddbtypes.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: ddbtypes.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: ddbtypes.ScalarAttributeTypeS},
		},
		KeySchema: []ddbtypes.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: ddbtypes.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: ddbtypes.KeyTypeRange},
		},
	})
	return err
}

// createSecret stores the fake Slack's token.
func (s *Stack) createSecret(ctx context.Context) error {
	out, err := secretsmanager.NewFromConfig(configOf(s.Endpoint)).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("keytrail/slack"), SecretString: aws.String(slacktest.Token),
	})
	if err == nil {
		s.secretARN = *out.ARN
	}
	return err
}

func (s *Stack) createQueue(ctx context.Context, q queue) error {
	attributes := map[string]string{}
	if q.fifo {
		attributes["FifoQueue"] = "true"
	}
	if q.visibility > 0 {
		attributes["VisibilityTimeout"] = strconv.Itoa(int(cmp.Or(s.o.Visibility, q.visibility).Seconds()))
	}
	if q.dead != "" {
		policy, err := json.Marshal(map[string]any{"deadLetterTargetArn": queueNamed(q.dead).arn(), "maxReceiveCount": q.maxReceives})
		if err != nil {
			return err
		}
		attributes["RedrivePolicy"] = string(policy)
	}
	_, err := s.sqs().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.name, Attributes: attributes})
	return err
}

// createNotification makes the trail's bucket tell the ingest queue of its log
// files, as the output BucketNotification of template.yaml does.
func (s *Stack) createNotification(ctx context.Context) error {
	_, err := s.s3().PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(TrailBucket),
		NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			Id: aws.String(Name), QueueArn: aws.String(queueNamed(queueIngest).arn()), Events: []s3types.Event{"s3:ObjectCreated:*"},
			Filter: &s3types.NotificationConfigurationFilter{Key: &s3types.S3KeyFilter{FilterRules: []s3types.FilterRule{
				{Name: s3types.FilterRuleNameSuffix, Value: aws.String(".json.gz")},
			}}},
		}}},
	})
	return err
}

// createTrail makes the trail that the doctor looks at.
func (s *Stack) createTrail(ctx context.Context) error {
	client, name := cloudtrail.NewFromConfig(configOf(s.Endpoint)), aws.String("main")
	_, err := client.CreateTrail(ctx, &cloudtrail.CreateTrailInput{
		Name: name, S3BucketName: aws.String(TrailBucket), IsMultiRegionTrail: aws.Bool(true), EnableLogFileValidation: aws.Bool(true),
	})
	if err != nil {
		return err
	}
	if _, err := client.PutEventSelectors(ctx, &cloudtrail.PutEventSelectorsInput{
		TrailName:      name,
		EventSelectors: []cttypes.EventSelector{{IncludeManagementEvents: aws.Bool(true), ReadWriteType: cttypes.ReadWriteTypeAll}},
	}); err != nil {
		return err
	}
	_, err = client.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: name})
	return err
}

// settingsOf completes the settings with a channel, when they have none, and
// returns the channels that they name.
func settingsOf(text []byte) (settings []byte, channels []slackpage.Channel, err error) {
	var named struct {
		Slack *analyzer.SlackSettings `yaml:"slack"`
	}
	if err := yaml.Unmarshal(text, &named); err != nil {
		return nil, nil, fmt.Errorf("read the settings: %w", err)
	}
	if named.Slack == nil {
		return append(slices.Clone(text), "\nslack:\n  channel: \"#alerts\"\n"...), []slackpage.Channel{defaultChannel}, nil
	}
	names := map[string]bool{named.Slack.Channel: true}
	for _, c := range named.Slack.Channels {
		names[c] = true
	}
	delete(names, "")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		channels = append(channels, channelNamed(name))
	}
	return text, channels, nil
}

// channelNamed makes a channel of how settings name it: "#name" or an id.
func channelNamed(name string) slackpage.Channel {
	if short, ok := strings.CutPrefix(name, "#"); ok {
		if short == defaultChannel.Name {
			return defaultChannel
		}
		return slackpage.Channel{ID: "C0" + strings.ToUpper(strings.ReplaceAll(short, "-", "")), Name: short}
	}
	if name == defaultChannel.ID {
		return defaultChannel
	}
	return slackpage.Channel{ID: name, Name: strings.ToLower(name)}
}
