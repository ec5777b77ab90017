"""The sets of parameters that the templates are checked with.

Each is what somebody may deploy, with resources that it must have and must not
have. That the others follow their conditions is checked as well; these say what
the conditions are meant to be.
"""

from dataclasses import dataclass, field

SECRET = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:keytrail/slack-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:111122223333:parameter/keytrail/slack"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

ALWAYS = {
    "LakeBucket", "Table", "IngestQueue", "IngestDeadLetterQueue", "NotifyQueue", "NotifyDeadLetterQueue",
    "IngestFunction", "AnalyzeFunction", "NotifyFunction", "DoctorFunction", "BackfillFunction",
    "AnalyzeFunctionTick", "AnalyzeFunctionCompact", "DoctorFunctionLook", "AlarmTopic", "Dashboard",
}
RULES = {"KmsCallsRule", "TrailCallsRule", "KmsEventsRule", "RuleDeadLetterQueue", "RuleDeadLetterPolicy", "RuleDeadLettersAlarm"}
TRAIL = {"TrailBucket", "TrailBucketPolicy", "Trail"}
SHARDS = {f"{what}{n}" for n in (1, 2, 3) for what in ("AnalyzeTick", "AnalyzeCompact", "NoTickAlarm")}
ATHENA = {"Database", "UsesTable", "ControlTable", "WorkGroup", "WhoUsedKeysQuery", "WhatWasOpenedQuery", "WhoChangedKeysQuery"}


@dataclass
class Case:
    """A stack that somebody may deploy."""

    name: str
    parameters: dict
    has: set = field(default_factory=set)
    lacks: set = field(default_factory=set)
    # What others made before: names of buckets, ARNs of topics. The emulator has
    # one account, so theirs are in it too.
    buckets: list = field(default_factory=list)
    topics: list = field(default_factory=list)


CASES = [
    Case(
        "what is needed at least",
        {"SlackSecretArn": SECRET},
        has=ALWAYS | RULES | ATHENA,
        lacks=TRAIL | SHARDS | {"LogFilesRule", "TopicSubscription", "AlarmSubscription"},
    ),
    Case(
        "everything at once",
        {
            "SlackSecretArn": SECRET,
            "SlackSecretKeyArn": KEY,
            "TrailBucketArns": "arn:aws:s3:::logs-one,arn:aws:s3:::logs-two",
            "TrailKeyArns": KEY,
            "DeliverFromBuckets": "true",
            "DeliverFromEventBridge": "true",
            "TrailTopicArn": "arn:aws:sns:eu-west-1:123456789012:trail-logs",
            "OwnTrailBucket": "own-trail-bucket",
            "IncludeReads": "true",
            "Shards": "4",
            "AlarmEmail": "oncall@example.com",
            "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
        },
        has=ALWAYS | RULES | ATHENA | TRAIL | SHARDS | {"LogFilesRule", "TopicSubscription", "AlarmSubscription"},
        topics=["arn:aws:sns:eu-west-1:123456789012:trail-logs"],
    ),
    Case(
        "a trail of its own",
        {"SlackSecretArn": PARAMETER, "OwnTrailBucket": "own-trail-bucket", "DeletionProtection": "false", "Shards": "2"},
        has=ALWAYS | RULES | ATHENA | TRAIL | {"AnalyzeTick1", "AnalyzeCompact1", "NoTickAlarm1"},
        lacks={"LogFilesRule", "TopicSubscription", "AlarmSubscription", "AnalyzeTick2", "AnalyzeCompact3"},
    ),
    Case(
        "log files of another account by a topic, and nothing else",
        {
            "SlackSecretArn": SECRET,
            "TrailBucketArns": "arn:aws:s3:::logs-one",
            "TrailBucketAccount": "444455556666",
            "TrailTopicArn": "arn:aws:sns:eu-central-1:123456789012:trail-logs",
            "ManagementCalls": "false",
            "IncludeReads": "true",
            "KmsEvents": "false",
            "GlueDatabase": "",
            "ReserveConcurrency": "false",
        },
        has=ALWAYS | {"TopicSubscription"},
        lacks=RULES | ATHENA | TRAIL | {"LogFilesRule", "AlarmSubscription"},
        topics=["arn:aws:sns:eu-central-1:123456789012:trail-logs"],
    ),
]

# The pieces in infra/, with what each needs.
PIECES = {
    "log-bucket.yaml": [
        Case(
            "a new bucket for an organisation",
            {
                "BucketName": "org-trail-logs",
                "MakeBucket": "true",
                "KeytrailAccount": "111122223333",
                "KeytrailRoles": "arn:aws:iam::111122223333:role/keytrail-IngestRole-1,arn:aws:iam::111122223333:role/keytrail-BackfillRole-1",
                "TrailArn": "arn:aws:cloudtrail:eu-central-1:777788889999:trail/organization",
                "OrganizationId": "o-exampleorgid",
            },
            has={"Topic", "TopicPolicy", "Bucket", "BucketPolicy"},
        ),
        Case(
            "a bucket that is there",
            {
                "BucketName": "trail-logs",
                "KeytrailAccount": "111122223333",
                "KeytrailRoles": "arn:aws:iam::111122223333:role/keytrail-IngestRole-1",
            },
            has={"Topic", "TopicPolicy"},
            lacks={"Bucket", "BucketPolicy"},
        ),
    ],
    "organization-trail.yaml": [
        Case("as it comes", {"BucketName": "org-trail-logs"}, has={"Trail"}, buckets=["org-trail-logs"]),
        Case("with a key", {"BucketName": "org-trail-logs", "KeyArn": KEY}, has={"Trail"}, buckets=["org-trail-logs"]),
    ],
    "second-region.yaml": [
        Case("as it comes", {"MainRegion": "eu-west-1"}, has={"KmsCallsRule", "TrailCallsRule", "KmsEventsRule"}),
        Case("with reads", {"MainRegion": "eu-west-1", "IncludeReads": "true"}, has={"KmsCallsRule"}),
    ],
}
