// Command echo is a Lambda function for tests, which does what its input says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// request is an input. An SQS event has Records; the bodies of its messages are
// requests, too.
type request struct {
	Do      string              `json:"do"`
	N       int                 `json:"n"`
	Path    string              `json:"path"`
	Records []events.SQSMessage `json:"Records"`
}

var (
	invocations int
	ballast     []byte
)

func main() {
	switch os.Getenv("INIT") {
	case "exit":
		os.Exit(3)
	case "error":
		_, _ = http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/init/error", "application/json",
			strings.NewReader(`{"errorType":"Echo.NoStart","errorMessage":"as asked"}`))
		os.Exit(1)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, r request) (any, error) {
	invocations++
	if len(r.Records) > 0 {
		return batch(r.Records)
	}
	switch r.Do {
	case "count":
		return invocations, nil
	case "environment":
		return os.Environ(), nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]string{
			"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "trace": fmt.Sprint(ctx.Value("x-amzn-trace-id")),
			"deadline": deadline.UTC().Format(time.RFC3339Nano),
		}, nil
	case "fail":
		return nil, errors.New("as asked")
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(r.N)
	case "sleep":
		time.Sleep(time.Duration(r.N) * time.Millisecond)
	case "allocate": // N megabytes, all of them touched
		ballast = make([]byte, r.N<<20)
		for i := 0; i < len(ballast); i += 4096 {
			ballast[i] = 1
		}
	case "large":
		return strings.Repeat("x", r.N), nil
	case "spawn": // a child that would outlive us
		cmd := exec.Command("sleep", "300")
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return cmd.Process.Pid, nil
	case "work beside": // after the answer, which a frozen process cannot
		go func() {
			time.Sleep(time.Duration(r.N) * time.Millisecond)
			_ = os.WriteFile(r.Path, nil, 0o600)
		}()
	case "wait for file":
		for {
			if _, err := os.Stat(r.Path); err == nil {
				return os.Getpid(), nil
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "get": // from AWS
		resp, err := http.Get(os.Getenv("AWS_ENDPOINT_URL") + r.Path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode, nil
	}
	return r.Do, nil
}

// batch fails messages whose body is a request to fail, and writes those that
// are done into the file that the message names.
func batch(messages []events.SQSMessage) (any, error) {
	var answer events.SQSEventResponse
	for _, m := range messages {
		var r request
		if err := json.Unmarshal([]byte(m.Body), &r); err != nil {
			return nil, err
		}
		switch r.Do {
		case "fail":
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		case "fail all":
			return nil, errors.New("as asked")
		case "note":
			f, err := os.OpenFile(r.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			_, err = f.WriteString(strconv.Itoa(r.N) + "\n")
			if err := errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
		}
	}
	return answer, nil
}
