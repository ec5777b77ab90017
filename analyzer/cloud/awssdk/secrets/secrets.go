// Package secrets reads secrets of Secrets Manager and of the Parameter Store.
// It is apart from package awssdk because its two services make a function
// larger that needs none.
package secrets

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
)

// secretAge is how long a secret is kept, unless Secrets.MaxAge says otherwise:
// what a rotation takes to be noticed.
const secretAge = 5 * time.Minute

// Secrets reads secrets of Secrets Manager and parameters of the Parameter
// Store, decrypted, and keeps them for a while. A value is only ever returned,
// never logged or part of an error.
type Secrets struct {
	MaxAge time.Duration    // default 5 min
	Now    func() time.Time // default time.Now

	manager func() *secretsmanager.Client
	store   func() *ssm.Client
	mu      sync.Mutex
	kept    map[string]*secret // by ARN
}

// secret is a value that was read. Whoever holds the turn may read and change
// it: of many callers one asks AWS, and the others wait for its answer or for
// their contexts.
type secret struct {
	turn  chan struct{}
	value string
	until time.Time
}

var _ cloud.Secrets = (*Secrets)(nil)

// New returns the secrets that the credentials of clients may read.
func New(clients *awssdk.Clients) *Secrets {
	return &Secrets{
		manager: sync.OnceValue(func() *secretsmanager.Client { return secretsmanager.NewFromConfig(clients.Config) }),
		store:   sync.OnceValue(func() *ssm.Client { return ssm.NewFromConfig(clients.Config) }),
		kept:    map[string]*secret{},
	}
}

// Secret implements cloud.Secrets. Of a secret that is a JSON object with the
// one member "token" or "webhook" it returns that member, of others the whole
// text; without the white space around it. The error wraps analyzer.ErrNotFound
// when there is no such secret.
func (s *Secrets) Secret(ctx context.Context, name string) (string, error) {
	a, err := parseSecret(name)
	if err != nil {
		return "", err
	}
	kept := s.entry(name)
	select {
	case kept.turn <- struct{}{}:
		defer func() { <-kept.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("read the secret %s: %w", name, ctx.Err())
	}
	now := s.now()
	if now.Before(kept.until) {
		return kept.value, nil
	}
	text, err := s.read(ctx, a)
	if err != nil {
		return "", fmt.Errorf("read the secret %s: %w", name, withoutAnswer(err))
	}
	value := unwrapSecret(text)
	if value == "" {
		return "", fmt.Errorf("read the secret %s: it is empty", name)
	}
	kept.value, kept.until = value, now.Add(cmp.Or(s.MaxAge, secretAge))
	return value, nil
}

func (s *Secrets) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Secrets) entry(name string) *secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[name] == nil {
		s.kept[name] = &secret{turn: make(chan struct{}, 1)}
	}
	return s.kept[name]
}

// parseSecret checks an ARN. What is not one is not repeated in the error:
// people put the secret itself where its ARN belongs.
func parseSecret(name string) (arn.ARN, error) {
	a, err := arn.Parse(name)
	isSecret := a.Service == "secretsmanager" && strings.HasPrefix(a.Resource, "secret:")
	isParameter := a.Service == "ssm" && strings.HasPrefix(a.Resource, "parameter/")
	if err != nil || !isSecret && !isParameter {
		return arn.ARN{}, errors.New("read a secret: the setting is not the ARN of a secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME) or of a parameter (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME)")
	}
	return a, nil
}

// read asks AWS, in the Region of the ARN.
func (s *Secrets) read(ctx context.Context, a arn.ARN) (string, error) {
	name := aws.String(a.String())
	if a.Service == "ssm" {
		out, err := s.store().GetParameter(ctx,
			&ssm.GetParameterInput{Name: name, WithDecryption: aws.Bool(true)},
			func(o *ssm.Options) { o.Region = a.Region })
		if err != nil {
			return "", err
		}
		if out.Parameter == nil {
			return "", nil
		}
		return aws.ToString(out.Parameter.Value), nil
	}
	out, err := s.manager().GetSecretValue(ctx,
		&secretsmanager.GetSecretValueInput{SecretId: name},
		func(o *secretsmanager.Options) { o.Region = a.Region })
	if err != nil {
		return "", err
	}
	return cmp.Or(aws.ToString(out.SecretString), string(out.SecretBinary)), nil
}

// withoutAnswer makes sure that no part of an answer that could not be read is
// in the error: it may have the secret in it.
func withoutAnswer(err error) error {
	var unread *smithy.DeserializationError
	var a smithy.APIError
	switch {
	case errors.As(err, &a):
		if code := a.ErrorCode(); code == "ResourceNotFoundException" || code == "ParameterNotFound" {
			return fmt.Errorf("%w: %w", analyzer.ErrNotFound, err)
		}
	case errors.As(err, &unread):
		return errors.New("the answer cannot be read")
	}
	return err
}

// unwrapSecret takes the value out of a JSON object that has nothing else.
func unwrapSecret(text string) string {
	text = strings.TrimSpace(text)
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil || len(members) != 1 {
		return text
	}
	for _, name := range []string{"token", "webhook"} {
		var value string
		if m, ok := members[name]; ok && json.Unmarshal(m, &value) == nil {
			return strings.TrimSpace(value)
		}
	}
	return text
}
