"""Each mistake that assertions.py is for is planted, and must be found."""

import copy
import json
import re
import unittest
from functools import cache
from pathlib import Path

import assertions
from expand import expand
from parameters import CASES
from resolve import ResolveError, Stack

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = CASES[1]


@cache
def template():
    return expand(str(ROOT / "template.yaml"), code="s3://artifacts/code")


def properties(t, key):
    return t["Resources"][key]["Properties"]


def statement(t, key, sid):
    """Finds a statement of a policy or a role by its Sid, also within an If."""

    def search(v):
        if isinstance(v, dict):
            if v.get("Sid") == sid:
                yield v
            for x in v.values():
                yield from search(x)
        elif isinstance(v, list):
            for x in v:
                yield from search(x)

    return next(search(properties(t, key)))


def widget(t, change):
    """Changes the text of the dashboard."""
    body = properties(t, "Dashboard")["DashboardBody"]
    body["Fn::Sub"] = change(body["Fn::Sub"])


def put(key, *path_and_value):
    """Returns what sets a property of a resource, by its path."""
    *path, last, value = path_and_value

    def change(t):
        p = properties(t, key)
        for step in path:
            p = p[step]
        p[last] = value

    return change


def drop(key, *path):
    """Returns what removes a property of a resource."""
    *path, last = path

    def change(t):
        p = properties(t, key)
        for step in path:
            p = p[step]
        del p[last]

    return change


def gone(*keys):
    """Returns what removes resources."""

    def change(t):
        for key in keys:
            del t["Resources"][key]

    return change


def say(sid, key, field, value):
    """Returns what changes a field of a statement."""

    def change(t):
        statement(t, key, sid)[field] = value

    return change


def rule(prefix, field, value):
    """Returns what changes a rule of the lake's lifecycle."""

    def change(t):
        rules = properties(t, "LakeBucket")["LifecycleConfiguration"]["Rules"]
        r = next(r for r in rules if r.get("Prefix") == prefix)
        r[field] = value

    return change


# What is planted, and words of what must be said.
MISTAKES = {
    "a redrive policy with a misspelt name": (put("IngestQueue", "RedrivePolicy", {"deadLetterTargetArn": "x", "maxReceives": 3}), "IngestQueue: a redrive policy has"),
    "no redrive policy": (drop("NotifyQueue", "RedrivePolicy"), "NotifyQueue is read by a function and has no dead-letter queue"),
    "a dead-letter queue of somebody else": (put("IngestQueue", "RedrivePolicy", "deadLetterTargetArn", "arn:aws:sqs:eu-central-1:111122223333:other"), "is none of the stack"),
    "giving up after three tries": (put("IngestQueue", "RedrivePolicy", "maxReceiveCount", 3), "IngestQueue gives up after 3 x 750 s"),
    "more receives than SQS has": (put("IngestQueue", "RedrivePolicy", "maxReceiveCount", 1001), "maxReceiveCount is 1 to 1000"),
    "messages that are forgotten first": (put("IngestQueue", "MessageRetentionPeriod", 3600), "IngestQueue forgets messages"),
    "a FIFO queue with a standard dead-letter queue": (put("NotifyQueue", "RedrivePolicy", "deadLetterTargetArn", {"Fn::GetAtt": ["IngestDeadLetterQueue", "Arn"]}), "are not both FIFO"),
    "a dead-letter queue that forgets": (put("IngestDeadLetterQueue", "MessageRetentionPeriod", 3600), "IngestDeadLetterQueue keeps messages no longer"),
    "a dead-letter queue that takes nothing": (put("IngestDeadLetterQueue", "RedriveAllowPolicy", {"redrivePermission": "denyAll"}), "does not take messages of IngestQueue alone"),
    "a dead-letter queue for another queue": (put("IngestDeadLetterQueue", "RedriveAllowPolicy", "sourceQueueArns", ["arn:aws:sqs:eu-central-1:111122223333:other"]), "does not take messages of IngestQueue alone"),
    "a FIFO queue with a plain name": (put("NotifyQueue", "QueueName", {"Fn::Sub": "${AWS::StackName}-notify"}), "only a FIFO queue's name ends in .fifo"),
    "a queue without the stack's name": (put("IngestQueue", "QueueName", "ingest"), "a second stack fails"),
    "a queue with a key of the user": (put("IngestQueue", "KmsMasterKeyId", "alias/mine"), "IngestQueue has KmsMasterKeyId"),
    "a queue without encryption": (drop("NotifyQueue", "SqsManagedSseEnabled"), "NotifyQueue is not encrypted"),
    "a queue without TLS": (gone("QueuePolicy"), "NotifyQueue has no policy"),
    "a policy that forgets TLS": (say("OnlyEncryptedConnections", "IngestQueuePolicy", "Condition", {"Bool": {"aws:SecureTransport": "true"}}), "IngestQueue takes connections without TLS"),
    "two policies of one queue": (lambda t: t["Resources"].update({"Second": copy.deepcopy(t["Resources"]["IngestQueuePolicy"])}), "has two policies"),
    "a queue that anybody may write to": (say("Rules", "IngestQueuePolicy", "Condition", {}), "lets any source in"),
    "failures that are not heeded": (put("IngestFunctionQueue", "FunctionResponseTypes", ["ReportBatchItemFailure"]), "does not heed which messages failed"),
    "a large batch without a window": (lambda t: (put("IngestFunctionQueue", "BatchSize", 100)(t), drop("IngestFunctionQueue", "MaximumBatchingWindowInSeconds")(t)), "needs a batching window"),
    "a window for a FIFO queue": (put("NotifyFunctionQueue", "MaximumBatchingWindowInSeconds", 5), "a FIFO queue has no batching window"),
    "messages that come again too early": (put("IngestQueue", "VisibilityTimeout", 120), "IngestQueue: messages come again after 120 s"),
    "one execution at once": (put("IngestFunctionQueue", "ScalingConfig", {"MaximumConcurrency": 1}), "its maximum concurrency is 2 to 1000"),
    "a rate in the plural": (put("AnalyzeFunctionTick", "ScheduleExpression", "rate(1 minutes)"), "is no schedule"),
    "a cron with five fields": (put("AnalyzeFunctionCompact", "ScheduleExpression", "cron(20 3 * * *)"), "is no schedule"),
    "a cron with both days": (put("AnalyzeFunctionCompact", "ScheduleExpression", "cron(20 3 * * * *)"), "is no schedule"),
    "a cron at 25 o'clock": (put("AnalyzeFunctionCompact", "ScheduleExpression", "cron(20 25 * * ? *)"), "is no schedule"),
    "a flexible window": (put("AnalyzeFunctionTick", "FlexibleTimeWindow", {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}), "starts whenever it likes"),
    "a schedule with a fixed name": (put("AnalyzeFunctionTick", "Name", "tick"), "a second stack fails"),
    "two schedules of one name": (put("AnalyzeFunctionCompact", "Name", {"Fn::Sub": "${AWS::StackName}-tick"}), "its name is taken"),
    "a schedule that is off": (put("DoctorFunctionLook", "State", "DISABLED"), "is switched off"),
    "a job that nobody knows": (put("AnalyzeFunctionCompact", "Target", "Input", '{"job":"compress"}'), "asks for what analyze does not have"),
    "a shard that is not analysed": (gone("AnalyzeTick2"), "analyze is not asked to tick and to compact each of 4 shards"),
    "ticks that are repeated": (put("AnalyzeFunctionTick", "Target", "RetryPolicy", "MaximumRetryAttempts", 3), "repeats ticks"),
    "ticks that Lambda repeats": (put("AnalyzeFunctionEventInvokeConfig", "MaximumRetryAttempts", 2), "must have 0 retries"),
    "a role that may not start": (say("Start", "ScheduleRole", "Resource", "arn:aws:lambda:eu-central-1:111122223333:function:other"), "its role may not start"),
    "a run that outlives its lease": (put("AnalyzeFunction", "Timeout", 600), "another may begin before it ends"),
    "no reserved execution": (drop("AnalyzeFunction", "ReservedConcurrentExecutions"), "has not one reserved execution"),
    "another runtime": (put("NotifyFunction", "Runtime", "provided.al2"), "NotifyFunction runs as provided.al2"),
    "another processor": (put("AnalyzeFunction", "Architectures", ["arm64"]), "arm64"),
    "logs that stay for ever": (drop("IngestLogs", "RetentionInDays"), "its logs have no group with a retention"),
    "logs that go elsewhere": (drop("IngestFunction", "LoggingConfig"), "its logs have no group with a retention"),
    "a variable that is missing": (drop("AnalyzeFunction", "Environment", "Variables", "KEYTRAIL_NOTIFY_QUEUE"), "AnalyzeFunction does not get KEYTRAIL_NOTIFY_QUEUE"),
    "a variable that is misspelt": (put("AnalyzeFunction", "Environment", "Variables", "KEYTRAIL_TMP_MB", "1"), "gets KEYTRAIL_TMP_MB, which nothing reads"),
    "a function too many": (lambda t: t["Resources"].update({"Sixth": copy.deepcopy(t["Resources"]["DoctorFunction"])}), "the functions are"),
    "a managed policy": (put("IngestRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/AmazonS3FullAccess"]), "has policies that AWS may change"),
    "any action": (say("WriteLake", "IngestRole", "Action", "s3:*"), "s3:* is no named action"),
    "any resource": (say("WriteLake", "IngestRole", "Resource", "*"), "on any resource"),
    "any bucket": (say("WriteLake", "IngestRole", "Resource", "arn:aws:s3:::*/uses/*"), "on any bucket"),
    "decrypting by itself": (say("DecryptLogs", "IngestRole", "Condition", {}), "may decrypt by itself"),
    "a shared role": (put("DoctorFunction", "Role", {"Fn::GetAtt": ["IngestRole", "Arn"]}), "two functions share a role"),
    "a policy beside": (lambda t: t["Resources"].update({"Beside": {"Type": "AWS::IAM::Policy", "Properties": {}}}), "easily overlooked"),
    "a pattern's value that is no list": (put("KmsCallsRule", "EventPattern", "source", "aws.kms"), "the value of source in the pattern is no list"),
    "a pattern's inner value that is no list": (put("TrailCallsRule", "EventPattern", "detail", "eventName", "StopLogging"), "the value of detail.eventName in the pattern is no list"),
    "a rule that may not send": (say("Rules", "IngestQueuePolicy", "Condition", {"ArnEquals": {"aws:SourceArn": "arn:aws:events:eu-central-1:111122223333:rule/other"}}), "KmsCallsRule: the policy of IngestQueue does not let it send"),
    "a rule without a dead-letter queue": (lambda t: properties(t, "KmsEventsRule")["Targets"][0].pop("DeadLetterConfig"), "KmsEventsRule has no dead-letter queue"),
    "a dead-letter queue without a policy": (gone("RuleDeadLetterPolicy"), "the policy of its dead-letter queue RuleDeadLetterQueue does not let it send"),
    "a rule that gives up": (lambda t: properties(t, "LogFilesRule")["Targets"][0].update({"RetryPolicy": {"MaximumEventAgeInSeconds": 60}}), "gives up events in less than a day"),
    "an alarm on nothing": (put("NoTickAlarm", "MetricName", "Tick"), "no function gives the metric Tick"),
    "an alarm with another dimension": (put("NoTickAlarm", "Dimensions", [{"Name": "Function", "Value": "x"}]), "has the dimension Stack"),
    "an alarm on another queue": (put("IngestDeadLettersAlarm", "Dimensions", [{"Name": "QueueName", "Value": "other"}]), "nothing watches the depth of IngestDeadLetterQueue"),
    "an odd period": (put("NoTickAlarm", "Period", 90), "a period is a multiple of 60 s"),
    "more points than periods": (put("SlackErrorsAlarm", "DatapointsToAlarm", 4), "4 of 3 points can never be"),
    "an alarm over a week": (put("DoctorSilentAlarm", "EvaluationPeriods", 9), "looks at more than a day"),
    "more errors than minutes": (put("AnalyzeErrorsAlarm", "Threshold", 15), "more errors than there are minutes"),
    "silence that is well": (put("NoTickAlarm", "TreatMissingData", "notBreaching"), "that there is nothing must count as too little"),
    "an alarm that tells nobody": (put("BehindAlarm", "AlarmActions", []), "BehindAlarm tells nobody"),
    "an alarm without a runbook": (put("BehindAlarm", "AlarmDescription", "Behind"), "does not link to a paragraph"),
    "an alarm with a lost runbook": (put("BehindAlarm", "AlarmDescription", {"Fn::Sub": "Behind. ${RunbookBase}/stack.md#late"}), "does not link to a paragraph"),
    "errors that nobody watches": (put("DoctorErrorsAlarm", "MetricName", "Throttles"), "nothing watches the errors of DoctorFunction"),
    "a queue's age that nobody watches": (put("NotifyLateAlarm", "MetricName", "ApproximateNumberOfMessagesVisible"), "nothing watches the age of NotifyQueue"),
    "a metric that nobody watches": (put("LateEventsAlarm", "MetricName", "LeaseHeld"), "nothing watches LateEvents"),
    "a dashboard that is no JSON": (lambda t: widget(t, lambda s: s.replace('"widgets": [', '"widgets": [,')), "is no JSON"),
    "a dashboard of another Region": (lambda t: widget(t, lambda s: s.replace('"region": "${AWS::Region}"', '"region": "us-east-1"', 1)), "its Region is us-east-1"),
    "a dashboard on nothing": (lambda t: widget(t, lambda s: s.replace('"RecordsKept"', '"RecordsSaved"')), "no function gives the metric RecordsSaved"),
    "a dashboard on another queue": (lambda t: widget(t, lambda s: s.replace('["...", "${NotifyQueue.QueueName}"]', '["...", "other"]')), "has no {'QueueName': 'other'}"),
    "widgets over one another": (lambda t: widget(t, lambda s: s.replace('"x": 8, "y": 6', '"x": 4, "y": 6')), "lies over another"),
    "a widget too wide": (lambda t: widget(t, lambda s: s.replace('"x": 16, "y": 6', '"x": 18, "y": 6')), "wider than the page"),
    "a bucket that is public": (put("LakeBucket", "PublicAccessBlockConfiguration", "RestrictPublicBuckets", False), "LakeBucket may become public"),
    "a bucket with ACLs": (drop("TrailBucket", "OwnershipControls"), "TrailBucket heeds ACLs"),
    "a bucket without versions": (put("LakeBucket", "VersioningConfiguration", {"Status": "Suspended"}), "LakeBucket keeps no versions"),
    "a bucket with a key of the user": (put("LakeBucket", "BucketEncryption", "ServerSideEncryptionConfiguration", [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]), "LakeBucket is not encrypted with S3's own key"),
    "a bucket that goes with the stack": (lambda t: t["Resources"]["LakeBucket"].pop("DeletionPolicy"), "LakeBucket goes with the stack"),
    "a bucket without TLS": (gone("LakeBucketPolicy"), "LakeBucket takes connections without TLS"),
    "memory that expires": (rule("memory/", "ExpirationInDays", 30), "what expires when is"),
    "events that stay": (lambda t: next(r for r in properties(t, "LakeBucket")["LifecycleConfiguration"]["Rules"] if r.get("Prefix") == "uses/").pop("ExpirationInDays"), "what expires when is"),
    "a rule that is off": (rule("done/", "Status", "Disabled"), "the rule done is switched off"),
    "old memory that stays": (rule("memory/", "NoncurrentVersionExpiration", {"NoncurrentDays": 30}), "1,440 generations"),
    "halves of uploads": (lambda t: [r.pop("AbortIncompleteMultipartUpload", 0) for r in properties(t, "LakeBucket")["LifecycleConfiguration"]["Rules"]], "LakeBucket keeps halves of uploads"),
    "a bucket that the queue refuses": (say("OwnBucket", "IngestQueuePolicy", "Effect", "Deny"), "its notifications are refused by IngestQueue"),
    "a bucket that comes before the policy": (lambda t: t["Resources"]["TrailBucket"].pop("DependsOn"), "does not wait for the queue's policy"),
    "a TTL on nothing": (put("Table", "TimeToLiveSpecification", {"AttributeName": "ttl", "Enabled": True}), "Table lets nothing expire"),
    "a table without recovery": (drop("Table", "PointInTimeRecoverySpecification"), "Table cannot be recovered"),
    "a table with a key of the user": (put("Table", "SSESpecification", {"SSEEnabled": True, "SSEType": "KMS"}), "Table has SSESpecification"),
    "a table with other keys": (put("Table", "KeySchema", [{"AttributeName": "pk", "KeyType": "HASH"}]), "Table has other keys"),
    "a table that goes when it is replaced": (lambda t: t["Resources"]["Table"].pop("UpdateReplacePolicy"), "Table goes when it is replaced"),
    "a table that is not protected": (drop("Table", "DeletionProtectionEnabled"), "does not heed DeletionProtection"),
    "a projection that is off": (put("UsesTable", "TableInput", "Parameters", "projection.enabled", "false"), "projection.enabled"),
    "a projection of another column": (lambda t: properties(t, "UsesTable")["TableInput"]["Parameters"].update({"projection.date.type": "date"}), "projection.date.type"),
    "a format that is none": (put("UsesTable", "TableInput", "Parameters", "projection.day.format", "YYYY-MM-DD"), "projection.day.format"),
    "a day that is replaced too early": (put("UsesTable", "TableInput", "Parameters", "storage.location.template", {"Fn::Sub": "s3://${LakeBucket}/uses/day=x"}), "storage.location.template"),
    "a table of the other's objects": (put("ControlTable", "TableInput", "StorageDescriptor", "Location", {"Fn::Sub": "s3://${LakeBucket}/uses/"}), "ControlTable is at"),
    "a table of JSON": (put("ControlTable", "TableInput", "StorageDescriptor", "SerdeInfo", {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"}), "is not Parquet's"),
    "a table that is not parted": (put("UsesTable", "TableInput", "PartitionKeys", [{"Name": "date", "Type": "string"}]), "UsesTable is not parted by day"),
    "a limit that clients override": (put("WorkGroup", "WorkGroupConfiguration", "EnforceWorkGroupConfiguration", False), "has no limit that holds"),
    "a query outside of the workgroup": (drop("WhoUsedKeysQuery", "WorkGroup"), "is not in the workgroup"),
    "a query over all days": (put("WhoUsedKeysQuery", "QueryString", "select 1 from uses"), "reads all days"),
    "a query that counts twice": (put("WhoUsedKeysQuery", "QueryString", "select count(*) from uses where day >= current_date"), "counts an event twice"),
    "queries too few": (gone("WhoChangedKeysQuery"), "fewer than three saved queries"),
    "a topic with a key": (put("AlarmTopic", "KmsMasterKeyId", "alias/aws/sns"), "AlarmTopic has KmsMasterKeyId"),
    "a topic that takes no alarms": (say("Alarms", "AlarmTopicPolicy", "Condition", {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:other-*"}}), "does not take what the alarms say"),
    "a topic without TLS": (gone("AlarmTopicPolicy"), "AlarmTopic takes connections without TLS"),
    "a trail of one Region": (put("Trail", "IsMultiRegionTrail", False), "Trail: IsMultiRegionTrail is not true"),
    "a trail without KMS": (lambda t: properties(t, "Trail")["EventSelectors"][0].update({"ExcludeManagementEventSources": ["kms.amazonaws.com"]}), "does not record all that KMS does"),
    "a trail of writes": (lambda t: properties(t, "Trail")["EventSelectors"][0].update({"ReadWriteType": "WriteOnly"}), "does not record all that KMS does"),
    "a bucket for any trail": (say("CloudTrailWrites", "TrailBucketPolicy", "Condition", {}), "the bucket lets [] in"),
    "a trail that may not write": (say("CloudTrailWrites", "TrailBucketPolicy", "Action", "s3:GetObject"), "Trail may not ['s3:PutObject'] in its bucket"),
    "an output with a hole": (lambda t: t["Outputs"]["TestAlert"].update({"Value": "keytrail ${AccountId}"}), "the output TestAlert is"),
}


class Assertions(unittest.TestCase):
    def test_the_template_is_in_order_with_every_set_of_parameters(self):
        for case in CASES:
            with self.subTest(case.name):
                self.assertEqual([], assertions.problems(Stack(template(), case.parameters)))

    def test_every_planted_mistake_is_found(self):
        for name, (plant, words) in MISTAKES.items():
            with self.subTest(name):
                t = copy.deepcopy(template())
                plant(t)
                self.assertNotEqual(json.dumps(template()), json.dumps(t), "nothing was planted")
                found = assertions.problems(Stack(t, EVERYTHING.parameters))
                self.assertTrue(any(words in p for p in found), f"{words!r} is not in {found}")

    def test_every_assertion_has_a_mistake(self):
        found_by = set()
        for plant, _ in MISTAKES.values():
            t = copy.deepcopy(template())
            plant(t)
            stack = Stack(t, EVERYTHING.parameters)
            for check in assertions.CHECKS:
                if check.__name__ not in found_by and list(check(stack, ROOT) if check in assertions.NEED_ROOT else check(stack)):
                    found_by.add(check.__name__)
        self.assertEqual({c.__name__ for c in assertions.CHECKS}, found_by)

    def test_a_schedule_is_told_from_what_is_none(self):
        for text in ("rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "cron(20 3 * * ? *)", "cron(0/15 0-6 ? * 2-6 *)"):
            self.assertTrue(assertions.valid_schedule(text), text)
        for text in ("rate(0 minutes)", "rate(5 minute)", "rate(1 second)", "every minute", "cron(60 3 * * ? *)", "cron(0 0 ? * ? *)"):
            self.assertFalse(assertions.valid_schedule(text), text)


class Parameters(unittest.TestCase):
    def test_what_fits_no_pattern_is_refused(self):
        fits = CASES[0].parameters
        for key, value in {
            "SlackSecretArn": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:slack",  # without its six characters
            "SlackSecretKeyArn": "arn:aws:kms:eu-central-1:111122223333:alias/slack",
            "SettingsKey": "keytrail.yaml",
            "TrailBucketArns": "my-trail",
            "TrailBucketAccount": "1111",
            "TrailTopicArn": "arn:aws:sns:eu-central-1:111122223333:topic.fifo",
            "OwnTrailBucket": "Upper",
            "GlueDatabase": "key-trail",
            "AlarmEmail": "oncall",
            "RunbookBase": "https://example.com/runbooks/",
            "RetentionDays": "30",
            "Shards": "5",
            "IncludeReads": "yes",
            "PermissionsBoundaryArn": "boundary",
        }.items():
            with self.subTest(key):
                with self.assertRaises(ResolveError):
                    Stack(template(), {**fits, key: value})

    def test_what_people_have_fits(self):
        fits = CASES[0].parameters
        for key, value in {
            "SlackSecretArn": "arn:aws-us-gov:ssm:us-gov-west-1:111122223333:parameter/teams/keys/slack",
            "TrailBucketArns": "arn:aws-cn:s3:::logs.example.com,arn:aws-cn:s3:::more",
            "AlarmEmail": "on-call+keys@sub.example.com",
            "RunbookBase": "https://git.example.com:8443/~ops/runbooks",
        }.items():
            with self.subTest(key):
                Stack(template(), {**fits, key: value})

    def test_every_parameter_is_shown_in_a_group(self):
        shown = [p for g in template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"] for p in g["Parameters"]]
        self.assertCountEqual(template()["Parameters"], shown)
        for key, p in template()["Parameters"].items():
            self.assertTrue(p.get("Description"), key)
            self.assertTrue({"AllowedPattern", "AllowedValues", "MinValue"} & p.keys(), f"{key} takes anything")


class Comments(unittest.TestCase):
    def test_every_resource_says_what_fails_when_it_fails(self):
        for path in (ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml")):
            lines = path.read_text(encoding="utf-8").split("\nResources:\n")[1].split("\nOutputs:\n")[0].splitlines()
            bare = [
                line.strip(" :") for before, line in zip(["", *lines], lines)
                if re.fullmatch(r"  \w+:", line) and not before.startswith("  # ")
            ]
            self.assertEqual([], bare, f"{path.name}: resources without a comment")


if __name__ == "__main__":
    unittest.main()
