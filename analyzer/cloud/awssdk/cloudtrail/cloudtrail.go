// Package cloudtrail reads the settings of trails. It is apart from package
// awssdk because only the doctor needs it.
package cloudtrail

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/cloud/trails"
)

// Reader reads the settings of trails.
type Reader struct {
	// Shadows includes the shadow trails: those of other home Regions that
	// record this Region too, and in a member account those of the organisation.
	Shadows bool

	client *cloudtrail.Client
}

// New returns what reads the trails of the clients' Region.
func New(clients *awssdk.Clients) *Reader {
	return &Reader{client: cloudtrail.NewFromConfig(clients.Config)}
}

// Trails returns the trails, each with its status and its selectors as its home
// Region has them. A trail that is deleted meanwhile is left out. When a trail
// cannot be read, the others are returned together with the error.
func (c *Reader) Trails(ctx context.Context) ([]trails.Trail, error) {
	out, err := c.client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: &c.Shadows})
	if err != nil {
		return nil, fmt.Errorf("list the trails: %w", err)
	}
	var all []trails.Trail
	var failed []error
	for _, described := range out.TrailList {
		t, err := c.trail(ctx, described)
		switch gone := (*types.TrailNotFoundException)(nil); {
		case errors.As(err, &gone):
		case err != nil:
			failed = append(failed, fmt.Errorf("read the trail %s: %w", t.ARN, err))
		default:
			all = append(all, t)
		}
	}
	return all, errors.Join(failed...)
}

func (c *Reader) trail(ctx context.Context, described types.Trail) (trails.Trail, error) {
	t := trails.Trail{
		Name: aws.ToString(described.Name), ARN: aws.ToString(described.TrailARN),
		HomeRegion: aws.ToString(described.HomeRegion), Bucket: aws.ToString(described.S3BucketName),
		MultiRegion: aws.ToBool(described.IsMultiRegionTrail), Organization: aws.ToBool(described.IsOrganizationTrail),
		Validated: aws.ToBool(described.LogFileValidationEnabled),
	}
	// Each Region has a status of its own; the selectors are the home Region's.
	atHome := func(o *cloudtrail.Options) {
		if t.HomeRegion != "" {
			o.Region = t.HomeRegion
		}
	}
	status, err := c.client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &t.ARN}, atHome)
	if err != nil {
		return t, err
	}
	t.Logging = aws.ToBool(status.IsLogging)
	t.Started, t.Stopped = aws.ToTime(status.StartLoggingTime).UTC(), aws.ToTime(status.StopLoggingTime).UTC()
	t.Delivered = aws.ToTime(status.LatestDeliveryTime).UTC()
	t.DeliveryError, t.DigestError = aws.ToString(status.LatestDeliveryError), aws.ToString(status.LatestDigestDeliveryError)
	t.NotificationError = aws.ToString(status.LatestNotificationError)

	selectors, err := c.client.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: &t.ARN}, atHome)
	if err != nil {
		return t, err
	}
	for _, s := range selectors.EventSelectors {
		t.Selectors = append(t.Selectors, trails.Selector{
			ReadWrite:  string(s.ReadWriteType),
			Management: s.IncludeManagementEvents == nil || *s.IncludeManagementEvents, // true is CloudTrail's default
			Excluded:   s.ExcludeManagementEventSources,
		})
	}
	for _, s := range selectors.AdvancedEventSelectors {
		t.Advanced = append(t.Advanced, advanced(s))
	}
	return t, nil
}

func advanced(s types.AdvancedEventSelector) trails.AdvancedSelector {
	a := trails.AdvancedSelector{Name: aws.ToString(s.Name)}
	for _, f := range s.FieldSelectors {
		a.Fields = append(a.Fields, trails.Field{
			Field:  aws.ToString(f.Field),
			Equals: f.Equals, StartsWith: f.StartsWith, EndsWith: f.EndsWith,
			NotEquals: f.NotEquals, NotStartsWith: f.NotStartsWith, NotEndsWith: f.NotEndsWith,
		})
	}
	return a
}
