"""Compares what the functions may do with what they were seen to do.

The recorded calls are a list, in a file of JSON:

    [{"function": "IngestFunction",
      "action": "s3:PutObject",
      "resource": "arn:aws:s3:::keytrail-lake/uses/day=2026-03-02/s3-1f.parquet"}]

function is the logical id in template.yaml, action the one that IAM asks about.
Some operations of the APIs go by the name of another action; those are taken,
too, and looked up. What was recorded of one call of TransactWriteItems is one entry
for each of its items: dynamodb:PutItem, DeleteItem or ConditionCheckItem.

The stack that the calls were recorded on may have other names than the template
gives. They are told in another file, with the parameters that the stack would have:

    {"account": "123456789012", "region": "eu-central-1", "stack": "keytrail",
     "parameters": {"SlackSecretArn": "arn:aws:secretsmanager:…",
                    "TrailBucketArns": "arn:aws:s3:::trail-logs"},
     "names": {"LakeBucket": "keytrail-lake", "Table": "keytrail-table"}}
"""

import json
import re
from pathlib import Path

import yaml
from resolve import Stack

# Operations whose action has another name (AWS's Service Authorization Reference).
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:DeleteObjects": "s3:DeleteObject",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}

UNRECORDED = Path(__file__).with_name("unrecorded.yaml")


class RecordError(Exception):
    """What was recorded is not in the form above."""


def read(path):
    """Reads recorded calls: [(function, action, resource)], each once."""
    entries = json.loads(Path(path).read_text(encoding="utf-8"))
    calls = set()
    for number, e in enumerate(entries):
        if not isinstance(e, dict) or set(e) != {"function", "action", "resource"}:
            raise RecordError(f"{path}: entry {number} has not function, action and resource: {e}")
        action = ACTIONS.get(e["action"], e["action"])
        if action.startswith("dynamodb:Transact"):
            raise RecordError(f"{path}: entry {number}: record the items of {action}, for each of which IAM asks")
        calls.add((e["function"], action, e["resource"]))
    if not calls:
        raise RecordError(f"{path} has no calls, which proves nothing")
    return sorted(calls)


def unrecorded(path=UNRECORDED):
    """Reads what may be allowed without being recorded: {(function, action, prefix)}."""
    documented = set()
    for function, groups in yaml.safe_load(Path(path).read_text(encoding="utf-8")).items():
        for group in groups:
            if set(group) != {"why", "actions", "resources"} or not group["why"].strip():
                raise RecordError(f"{path}: {function} has an entry without a reason: {group}")
            documented |= {(function, action, on) for action in group["actions"] for on in group["resources"]}
    return documented


def world(template, path):
    """Returns the stack that calls were recorded on, by the file that tells its names."""
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    if unknown := told.keys() - {"account", "region", "stack", "parameters", "names"}:
        raise RecordError(f"{path} has {', '.join(sorted(unknown))}, which says nothing")
    if unknown := told.get("names", {}).keys() - template["Resources"].keys():
        raise RecordError(f"{path} names {', '.join(sorted(unknown))}, which the template does not have")
    return Stack(template, **told)


def allowed(stack):
    """Returns what the roles of the functions allow: {(function, action, resource)}."""
    grants = set()
    roles = {stack.arn(k): p for k, p in stack.of_type("AWS::IAM::Role").items()}
    for function, p in stack.of_type("AWS::Lambda::Function").items():
        for policy in roles[p["Role"]]["Policies"]:
            for s in policy["PolicyDocument"]["Statement"]:
                for action in listed(s["Action"]):
                    grants |= {(function, action, resource) for resource in listed(s["Resource"])}
    return grants


def listed(v):
    return v if isinstance(v, list) else [v]


def covers(resource, arn):
    """Tells whether the resource of a statement has an ARN in it, as IAM compares."""
    return re.fullmatch(re.escape(resource).replace(r"\*", ".*").replace(r"\?", "."), arn, re.S) is not None


def problems(stack, recorded, documented):
    """Says which calls are not allowed, and what is allowed without need."""
    grants = allowed(stack)
    functions = stack.of_type("AWS::Lambda::Function")
    found, used = [], set()
    for function, action, arn in recorded:
        if function not in functions:
            found.append(f"{function} made a call, and is no function of the template")
            continue
        by = {g for g in grants if g[0] == function and g[1] == action and covers(g[2], arn)}
        if not by:
            found.append(f"{function} may not {action} on {arn}, and does")
        used |= by
    for grant in sorted(grants - used):
        function, action, resource = grant
        if not any(d[:2] == (function, action) and covers(d[2], resource) for d in documented):
            found.append(f"{function} may {action} on {resource}, and never did")
    return found


def stale(stack, documented):
    """Says which exceptions are for rights that a stack with everything has not."""
    grants = allowed(stack)
    for function, action, on in sorted(documented):
        if not any(g[:2] == (function, action) and covers(on, g[2]) for g in grants):
            yield f"unrecorded.yaml excuses {function} {action} on {on}, which is not allowed"
