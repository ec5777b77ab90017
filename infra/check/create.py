"""Creates templates as stacks in the emulator and looks whether all of it is there.

The emulator says of each resource what it believes; the service that has it is
asked as well.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3

ACCOUNT = "123456789012"  # the emulator's
REGION = "eu-central-1"


class Emulator:
    """The emulated AWS, as a process that ends with the `with` it is used in."""

    def __init__(self, log):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.log = log

    def __enter__(self):
        environment = {**os.environ, "AWS_DEFAULT_REGION": REGION, "MOTO_ACCOUNT_ID": ACCOUNT}
        self.output = open(self.log, "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(Path(__file__).with_name("emulator.py")), str(self.port)],
            stdout=self.output, stderr=subprocess.STDOUT, env=environment,
        )
        for _ in range(300):
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator ended: see {self.log}")
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the emulator does not answer: see {self.log}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.output.close()

    def reset(self):
        """Forgets everything: one stack is not to find what another made."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST"), timeout=30).close()

    def client(self, service, region=REGION):
        return boto3.client(
            service, region_name=region, endpoint_url=self.url,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )


def finders(emulator):
    """Returns how to ask for a resource of each type: physical id -> answer."""
    c = emulator.client
    queues = lambda url: c("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def subscription(arn):
        return c("sns", arn.split(":")[3]).get_subscription_attributes(SubscriptionArn=arn)

    def alarm(name):
        return c("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]

    def mapping(identity):
        return c("lambda").get_event_source_mapping(UUID=identity)

    return {
        "AWS::Athena::NamedQuery": lambda i: c("athena").get_named_query(NamedQueryId=i),
        "AWS::Athena::WorkGroup": lambda n: c("athena").get_work_group(WorkGroup=n)["WorkGroup"]["Configuration"],
        "AWS::CloudTrail::Trail": lambda n: c("cloudtrail").get_trail(Name=n),
        "AWS::CloudWatch::Alarm": alarm,
        "AWS::CloudWatch::Dashboard": lambda n: json.loads(c("cloudwatch").get_dashboard(DashboardName=n)["DashboardBody"]),
        "AWS::DynamoDB::Table": lambda n: c("dynamodb").describe_table(TableName=n),
        "AWS::Events::Rule": lambda n: c("events").describe_rule(Name=n.split("/")[-1]),
        "AWS::Glue::Database": lambda n: c("glue").get_database(Name=n),
        "AWS::IAM::Role": lambda n: c("iam").get_role(RoleName=n),
        "AWS::Lambda::EventInvokeConfig": lambda n: c("lambda").get_function_event_invoke_config(FunctionName=n),
        "AWS::Lambda::EventSourceMapping": mapping,
        "AWS::Lambda::Function": lambda n: c("lambda").get_function(FunctionName=n),
        "AWS::Logs::LogGroup": lambda n: c("logs").describe_log_groups(logGroupNamePrefix=n)["logGroups"][0],
        "AWS::S3::Bucket": lambda n: c("s3").head_bucket(Bucket=n),
        "AWS::S3::BucketPolicy": lambda n: json.loads(c("s3").get_bucket_policy(Bucket=n)["Policy"]),
        "AWS::SNS::Subscription": subscription,
        "AWS::SNS::Topic": lambda arn: c("sns").get_topic_attributes(TopicArn=arn),
        "AWS::SQS::Queue": queues,
        "AWS::Scheduler::Schedule": lambda n: c("scheduler").get_schedule(Name=n),
    }


# Types whose physical id tells nothing by which they could be asked for: what they
# do is seen at the resource that they belong to.
UNASKED = {"AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::Glue::Table"}


def create(emulator, template, parameters, name):
    """Creates a stack and returns what there is: {logical id: (type, physical id)}."""
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    if status != "CREATE_COMPLETE":
        raise RuntimeError(f"the stack is {status}")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        r["LogicalResourceId"]: (r["ResourceType"], r["PhysicalResourceId"])
        for page in pages
        for r in page["StackResourceSummaries"]
        if r["LogicalResourceId"]  # moto lists those with a false condition without a name
    }


def compare(emulator, stack, there):
    """Says what of a resolved template is not there, or should not be."""
    problems = []
    ask = finders(emulator)
    for key, resource in stack.resources.items():
        kind = resource["Type"]
        if key not in there:
            problems.append(f"{key} ({kind}) was not created")
        elif kind in UNASKED:
            continue
        elif kind not in ask:
            problems.append(f"{key}: nobody here knows how to ask for a {kind}")
        else:
            try:
                ask[kind](there[key][1])
            except Exception as e:  # whatever the service says, it is not there
                problems.append(f"{key} ({kind}) is in the stack, but its service says: {e}")
    for key in there.keys() - stack.resources.keys():
        problems.append(f"{key} was created although its condition is false")
    return problems + policies(emulator, stack, there)


def policies(emulator, stack, there):
    """Says which queue or topic has not got its policy."""
    problems = []
    for key, p in stack.of_type("AWS::SQS::QueuePolicy").items():
        for url in p["Queues"]:
            names = [k for k, (kind, i) in there.items() if kind == "AWS::SQS::Queue" and i.split("/")[-1] == url.split("/")[-1]]
            for name in names:
                asked = emulator.client("sqs").get_queue_attributes(QueueUrl=there[name][1], AttributeNames=["Policy"])
                if "Policy" not in asked.get("Attributes", {}):
                    problems.append(f"{name} has not got the policy {key}")
            if not names:
                problems.append(f"{key} is for the queue {url}, which there is not")
    for p in stack.of_type("AWS::Glue::Table").values():
        try:
            emulator.client("glue").get_table(DatabaseName=p["DatabaseName"], Name=p["TableInput"]["Name"])
        except Exception as e:
            problems.append(f"the table {p['TableInput']['Name']}: {e}")
    return problems
