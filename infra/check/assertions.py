"""What must hold of an expanded template and no tool checks.

Each function here takes a resolved template (resolve.Stack) and yields what is
wrong, in sentences. They look at values as they would be in AWS, for one set of
parameters; test_assertions.py plants each mistake and sees that it is found.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DAY = 86400  # seconds


def problems(stack, root=ROOT):
    """Returns all that is wrong with a stack, each problem once."""
    found = []
    for check in CHECKS:
        for problem in check(stack, root) if check in NEED_ROOT else check(stack):
            if problem not in found:
                found.append(problem)
    return found


def as_list(v):
    return v if isinstance(v, list) else [v]


def statements(document):
    return as_list(document["Statement"])


def queues_of(stack):
    return stack.of_type("AWS::SQS::Queue")


def by_arn(stack, arn):
    """Returns the logical id of the resource that has an ARN."""
    for key in stack.resources:
        try:
            if stack.arn(key) == arn:
                return key
        except Exception:
            continue
    return None


# ---------------------------------------------------------------------- queues


def queues(stack):
    """Names, encryption, and bounds of SQS."""
    for key, q in queues_of(stack).items():
        fifo = q.get("FifoQueue") in (True, "true")
        if fifo != q["QueueName"].endswith(".fifo"):
            yield f"{key}: only a FIFO queue's name ends in .fifo"
        if not q["QueueName"].startswith(stack.name):
            yield f"{key}: its name does not begin with the stack's, so that a second stack fails"
        if q.get("SqsManagedSseEnabled") is not True:
            yield f"{key} is not encrypted by SQS itself"
        if not 60 <= int(q.get("MessageRetentionPeriod", 345600)) <= 14 * DAY:
            yield f"{key} keeps messages for less than a minute or more than 14 days"
        if not 0 <= int(q.get("VisibilityTimeout", 30)) <= DAY / 2:
            yield f"{key}: a visibility timeout is at most 12 hours"


def dead_letters(stack):
    """Each queue that a function reads gives up into a queue of its own, late enough."""
    all_queues = queues_of(stack)
    read = {by_arn(stack, m["EventSourceArn"]) for m in stack.of_type("AWS::Lambda::EventSourceMapping").values()}
    for key in read & all_queues.keys():
        if "RedrivePolicy" not in all_queues[key]:
            yield f"{key} is read by a function and has no dead-letter queue"
    for key, q in all_queues.items():
        redrive = q.get("RedrivePolicy")
        if not redrive:
            continue
        if set(redrive) != {"deadLetterTargetArn", "maxReceiveCount"}:
            yield f"{key}: a redrive policy has deadLetterTargetArn and maxReceiveCount, and not {sorted(redrive)}"
            continue
        target = by_arn(stack, redrive["deadLetterTargetArn"])
        if target not in all_queues or target == key:
            yield f"{key}: its dead-letter queue {redrive['deadLetterTargetArn']} is none of the stack"
            continue
        dead = all_queues[target]
        receives, visible = int(redrive["maxReceiveCount"]), int(q.get("VisibilityTimeout", 30))
        if not 1 <= receives <= 1000:
            yield f"{key}: maxReceiveCount is 1 to 1000"
        if receives * visible < 23 * 3600:
            yield f"{key} gives up after {receives} x {visible} s, less than a day's outage"
        if receives * visible > int(q["MessageRetentionPeriod"]):
            yield f"{key} forgets messages before it gives them up: {receives} x {visible} s is more than it keeps them"
        if bool(q.get("FifoQueue")) != bool(dead.get("FifoQueue")):
            yield f"{key} and its dead-letter queue are not both FIFO queues"
        if int(dead["MessageRetentionPeriod"]) <= int(q["MessageRetentionPeriod"]):
            yield f"{target} keeps messages no longer than {key}, and their age counts from the first day"
        allow = dead.get("RedriveAllowPolicy", {})
        if allow.get("redrivePermission") != "byQueue" or allow.get("sourceQueueArns") != [stack.arn(key)]:
            yield f"{target} does not take messages of {key} alone: {allow}"


def queue_policies(stack):
    """Each queue refuses plain connections, and nobody but named services may send."""
    policy_of = {}
    for key, p in stack.of_type("AWS::SQS::QueuePolicy").items():
        for url in p["Queues"]:
            name = url.split("/")[-1]
            if name in policy_of:
                yield f"{key}: the queue {name} has two policies, and the last one wins"
            policy_of[name] = p["PolicyDocument"]
    for key, q in queues_of(stack).items():
        document = policy_of.get(q["QueueName"])
        if document is None:
            yield f"{key} has no policy"
            continue
        if not refuses_plain(document, "sqs:*"):
            yield f"{key} takes connections without TLS"
        for s in statements(document):
            if s["Effect"] == "Allow" and not source_conditions(s):
                yield f"{key}: the statement {s.get('Sid')} lets any source in"


def refuses_plain(document, action):
    """Tells whether a policy denies everything without TLS."""
    return any(
        s["Effect"] == "Deny"
        and s["Principal"] == "*"
        and s["Action"] == action
        and s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for s in statements(document)
    )


def source_conditions(statement):
    """Returns the ARNs that a statement for a service is bound to."""
    for operator in ("ArnEquals", "ArnLike", "StringEquals", "StringLike"):
        arns = statement.get("Condition", {}).get(operator, {}).get("aws:SourceArn")
        if arns:
            return as_list(arns)
    return []


def lets_in(stack, queue, service, source):
    """Tells whether the policy of a queue lets a service send for a source."""
    name = queues_of(stack)[queue]["QueueName"]
    for p in stack.of_type("AWS::SQS::QueuePolicy").values():
        if name not in [url.split("/")[-1] for url in p["Queues"]]:
            continue
        for s in statements(p["PolicyDocument"]):
            if (
                s["Effect"] == "Allow"
                and s["Principal"] == {"Service": service}
                and "sqs:SendMessage" in as_list(s["Action"])
                and s["Resource"] == stack.arn(queue)
                and source in source_conditions(s)
            ):
                return True
    return False


# ------------------------------------------------------------------- functions

NAMES = ("IngestFunction", "AnalyzeFunction", "NotifyFunction", "DoctorFunction", "BackfillFunction")


def mappings(stack):
    """Batches of queues: partial failures, sizes, and time to work before they come again."""
    lambdas = stack.of_type("AWS::Lambda::Function")
    for key, m in stack.of_type("AWS::Lambda::EventSourceMapping").items():
        queue = by_arn(stack, m["EventSourceArn"])
        if queue not in queues_of(stack):
            yield f"{key}: its queue is none of the stack"
            continue
        q = queues_of(stack)[queue]
        function = next((f for f in lambdas.values() if f["FunctionName"] == m["FunctionName"].split(":")[-1]), None)
        if function is None:
            yield f"{key}: its function is none of the stack"
            continue
        window, size = int(m.get("MaximumBatchingWindowInSeconds", 0)), int(m.get("BatchSize", 10))
        if m.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{key} does not heed which messages failed: {m.get('FunctionResponseTypes')}"
        if size > 10 and window == 0:
            yield f"{key}: a batch of more than 10 needs a batching window"
        if q.get("FifoQueue") and (window or size > 10):
            yield f"{key}: a FIFO queue has no batching window and batches of 10 at most"
        if window > 300:
            yield f"{key}: a batching window is at most 300 s"
        needed = 6 * int(function["Timeout"]) + window
        if int(q.get("VisibilityTimeout", 30)) < needed:
            yield f"{queue}: messages come again after {q.get('VisibilityTimeout', 30)} s, before 6 x the function's timeout and the window, {needed} s"
        if "ScalingConfig" in m and not 2 <= int(m["ScalingConfig"]["MaximumConcurrency"]) <= 1000:
            yield f"{key}: its maximum concurrency is 2 to 1000"


def functions(stack, root):
    """Runtime, time, logs and what correctness needs."""
    lambdas, groups = stack.of_type("AWS::Lambda::Function"), stack.of_type("AWS::Logs::LogGroup")
    if set(lambdas) != set(NAMES):
        yield f"the functions are {sorted(lambdas)}"
    for key, f in lambdas.items():
        if (f["Runtime"], f["Handler"], f["Architectures"]) != ("provided.al2023", "bootstrap", ["x86_64"]):
            yield f"{key} runs as {f['Runtime']}, {f['Handler']}, {f['Architectures']}"
        if not f["FunctionName"].startswith(stack.name + "-"):
            yield f"{key}: its name does not begin with the stack's"
        if not 1 <= int(f["Timeout"]) <= 900:
            yield f"{key}: a timeout is 1 to 900 s"
        if "VpcConfig" in f:
            yield f"{key} is in a VPC and reaches nothing"
        group = f.get("LoggingConfig", {}).get("LogGroup")
        logs = [g for g in groups.values() if g["LogGroupName"] == group]
        if not logs or not logs[0].get("RetentionInDays"):
            yield f"{key}: its logs have no group with a retention"
    analyze = lambdas.get("AnalyzeFunction", {})
    lease = lease_seconds((root / "functions/analyze/main.go").read_text(encoding="utf-8"))
    if int(analyze.get("Timeout", 0)) >= lease:
        yield f"AnalyzeFunction may run for {analyze['Timeout']} s, and its lease is {lease} s: another may begin before it ends"
    if stack.parameters["ReserveConcurrency"] == "true" and str(analyze.get("ReservedConcurrentExecutions")) != stack.parameters["Shards"]:
        yield "AnalyzeFunction has not one reserved execution for each shard"
    retries = [
        c for c in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if c["FunctionName"] in (analyze.get("FunctionName"), "AnalyzeFunction")
    ]
    if [(int(c["MaximumRetryAttempts"]), int(c["MaximumEventAgeInSeconds"])) for c in retries] != [(0, 60)]:
        yield "AnalyzeFunction repeats ticks, which then pile up: it must have 0 retries and 60 s of age"


def lease_seconds(source):
    """Reads `const lease = 6 * time.Minute` out of the function."""
    m = re.search(r"\blease = (\d+) \* time\.Minute", source)
    if not m:
        raise ValueError("functions/analyze/main.go does not say how long its lease is")
    return 60 * int(m[1])


def environment(stack, root):
    """Each function gets the variables that it asks for, and no others."""
    source = (root / "analyzer/stack/stack.go").read_text(encoding="utf-8") + (root / "analyzer/stack/main.go").read_text(encoding="utf-8")
    constants = dict(re.findall(r'\b(Env\w+)\s*=\s*"(KEYTRAIL_\w+)"', source))
    known = set(re.findall(r"`(KEYTRAIL_\w+)`", (root / "docs/aws.md").read_text(encoding="utf-8"))) | set(re.findall(r"KEYTRAIL_\w+", source))
    for key, f in stack.of_type("AWS::Lambda::Function").items():
        if key not in NAMES:
            continue
        variables = f.get("Environment", {}).get("Variables", {})
        folder = key.removesuffix("Function").lower()
        main = (root / "functions" / folder / "main.go").read_text(encoding="utf-8")
        for constant in re.findall(r"env\.Must\(stack\.(Env\w+)\)", main):
            if not variables.get(constants[constant]):
                yield f"{key} does not get {constants[constant]}, without which it does not start"
        for name in variables.keys() - known:
            yield f"{key} gets {name}, which nothing reads"


def schedules(stack, root):
    """What starts by the clock: expressions, names, and the right to do so."""
    jobs = set(re.findall(r'\bJob\w+\s*=\s*"(\w+)"', (root / "analyzer/stack/analyze/analyze.go").read_text(encoding="utf-8")))
    lambdas = stack.of_type("AWS::Lambda::Function")
    names, asked = set(), []
    for key, s in stack.of_type("AWS::Scheduler::Schedule").items():
        if not valid_schedule(s["ScheduleExpression"]):
            yield f"{key}: {s['ScheduleExpression']!r} is no schedule"
        if s["FlexibleTimeWindow"] != {"Mode": "OFF"}:
            yield f"{key} starts whenever it likes: {s['FlexibleTimeWindow']}"
        if not s.get("Name", "").startswith(stack.name + "-"):
            yield f"{key}: its name has not the stack's in it, so that a second stack fails"
        if s.get("Name") in names:
            yield f"{key}: its name is taken"
        names.add(s.get("Name"))
        if s.get("State", "ENABLED") != "ENABLED":
            yield f"{key} is switched off"
        target = s["Target"]
        function = by_arn(stack, target["Arn"])
        if function not in lambdas:
            yield f"{key} starts {target['Arn']}, which is none of the functions"
            continue
        role = by_arn(stack, target["RoleArn"])
        if not any(s["Effect"] == "Allow" and "lambda:InvokeFunction" in as_list(s["Action"]) and target["Arn"] in as_list(s["Resource"])
                   for _, s in role_statements(stack, role)):
            yield f"{key}: its role may not start {function}"
        request = json.loads(target.get("Input", "{}"))
        if function == "AnalyzeFunction":
            asked.append((request.get("job", ""), request.get("shard", 0)))
        if request.get("job", "") not in jobs | {""} or request.keys() - {"job", "shard"}:
            yield f"{key} asks for what analyze does not have: {target['Input']}"
        if function == "AnalyzeFunction" and int(target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 185)) != 0:
            yield f"{key} repeats ticks, which then pile up"
    shards = range(int(stack.parameters["Shards"]))
    if sorted(asked) != sorted((job, n) for job in jobs | {""} for n in shards):
        yield f"analyze is not asked to tick and to compact each of {len(shards)} shards, but {sorted(asked)}"


def valid_schedule(text):
    """Tells whether a text is a rate or a cron expression of EventBridge Scheduler."""
    if m := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", text):
        return int(m[1]) > 0 and (m[3] == "s") == (int(m[1]) > 1)
    m = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", text)
    if not m or (m[3] == "?") == (m[5] == "?"):
        return False  # one of the days, of the month and of the week, is left open
    bounds = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))
    return all(
        part in ("*", "?") or all(p.isdigit() and low <= int(p) <= high for p in re.split(r"[,-]", part.split("/")[0].replace("*", str(low))))
        for part, (low, high) in zip(m.groups(), bounds)
    )


# ----------------------------------------------------------------------- roles


def role_statements(stack, role):
    """Returns the statements of a role: [(policy name, statement)]."""
    policies = stack.of_type("AWS::IAM::Role").get(role, {}).get("Policies", [])
    return [(p["PolicyName"], s) for p in policies for s in statements(p["PolicyDocument"])]


# Actions that have no narrower resource (AWS's Service Authorization Reference).
ANY_RESOURCE = {"cloudtrail:DescribeTrails"}


def roles(stack):
    """Named actions on named resources, a role for each function."""
    all_roles = stack.of_type("AWS::IAM::Role")
    used = [f["Role"] for f in stack.of_type("AWS::Lambda::Function").values()]
    if len(set(used)) != len(used):
        yield "two functions share a role"
    for arn in used:
        if by_arn(stack, arn) not in all_roles:
            yield f"the role {arn} is none of the stack"
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for key in stack.of_type(kind):
            yield f"{key}: a policy beside the roles is easily overlooked"
    for key, role in all_roles.items():
        if role.get("ManagedPolicyArns"):
            yield f"{key} has policies that AWS may change: {role['ManagedPolicyArns']}"
        for _, s in role_statements(stack, key):
            actions, resources = as_list(s["Action"]), as_list(s["Resource"])
            if s["Effect"] != "Allow" or "NotAction" in s or "NotResource" in s:
                yield f"{key}: the statement {s.get('Sid')} is no plain permission"
            for action in actions:
                if "*" in action:
                    yield f"{key}: {action} is no named action"
            for resource in resources:
                if resource == "*" and not set(actions) <= ANY_RESOURCE:
                    yield f"{key}: {actions} on any resource"
                elif resource != "*" and resource.startswith("arn:aws:s3:::*"):
                    yield f"{key}: {actions} on any bucket"
            if "kms:Decrypt" in actions and "kms:ViaService" not in json.dumps(s.get("Condition", {})):
                yield f"{key} may decrypt by itself, not only through a service"


# ----------------------------------------------------------------------- rules


def rules(stack):
    """Event patterns, and what becomes of events that are not delivered."""
    for key, r in stack.of_type("AWS::Events::Rule").items():
        yield from pattern_problems(key, r["EventPattern"])
        for target in r["Targets"]:
            queue = by_arn(stack, target["Arn"])
            if queue in queues_of(stack) and not lets_in(stack, queue, "events.amazonaws.com", stack.arn(key)):
                yield f"{key}: the policy of {queue} does not let it send"
            dead = by_arn(stack, target.get("DeadLetterConfig", {}).get("Arn"))
            if dead not in queues_of(stack):
                yield f"{key} has no dead-letter queue"
            elif not lets_in(stack, dead, "events.amazonaws.com", stack.arn(key)):
                yield f"{key}: the policy of its dead-letter queue {dead} does not let it send"
            retry = target.get("RetryPolicy", {})
            if int(retry.get("MaximumEventAgeInSeconds", DAY)) < DAY:
                yield f"{key} gives up events in less than a day"


def pattern_problems(key, pattern, path=""):
    """Says which values of a pattern are not lists: EventBridge refuses them."""
    if not isinstance(pattern, dict) or not pattern:
        yield f"{key}: the pattern{path} is no object"
        return
    for name, value in pattern.items():
        if isinstance(value, dict):
            yield from pattern_problems(key, value, f"{path}.{name}")
        elif not isinstance(value, list) or not value:
            yield f"{key}: the value of {path[1:] + '.' if path else ''}{name} in the pattern is no list"


# ---------------------------------------------------------------------- alarms

COMPARISONS = {"GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}
MISSING = {"breaching", "notBreaching", "ignore", "missing"}
STATISTICS = {"SampleCount", "Average", "Sum", "Minimum", "Maximum"}

# Metrics of AWS that are used, with their dimension and the type that it names.
AWS_METRICS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("QueueName", "AWS::SQS::Queue"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ("QueueName", "AWS::SQS::Queue"),
    ("AWS/Lambda", "Errors"): ("FunctionName", "AWS::Lambda::Function"),
    ("AWS/Lambda", "Throttles"): ("FunctionName", "AWS::Lambda::Function"),
    ("AWS/Lambda", "Duration"): ("FunctionName", "AWS::Lambda::Function"),
    ("AWS/Lambda", "ConcurrentExecutions"): ("FunctionName", "AWS::Lambda::Function"),
}


def own_metrics(root):
    """Returns the names of metrics that the functions give."""
    names = set()
    for path in (root / "analyzer/stack").rglob("*.go"):
        if path.name.endswith("_test.go"):
            continue
        for call in re.findall(r"Metrics\.(?:Count|Seconds)\(map\[string\][\w.]+\{(.*?)\}\)", path.read_text(encoding="utf-8"), re.S):
            names |= set(re.findall(r'"(\w+)":', call))
    return names


def metric_problem(stack, names, namespace, metric, dimensions):
    """Says why nobody gives a metric."""
    if namespace == "Keytrail":
        if metric not in names:
            return f"no function gives the metric {metric}"
        if metric == "Ticks" and dimensions.get("Shard", "") in {str(n) for n in range(int(stack.parameters["Shards"]))}:
            dimensions = {k: v for k, v in dimensions.items() if k != "Shard"}
        if dimensions != {"Stack": stack.name}:
            return f"the metric {metric} has the dimension Stack, and not {dimensions}"
        return None
    if (namespace, metric) not in AWS_METRICS:
        return f"{namespace} {metric} is not known here"
    dimension, kind = AWS_METRICS[namespace, metric]
    there = [p[dimension] for p in stack.of_type(kind).values()]
    if set(dimensions) != {dimension} or dimensions[dimension] not in there:
        return f"{namespace} {metric} has no {dimensions}"
    return None


def alarms(stack, root):
    """Metrics, arithmetic, who is told, and the runbook."""
    names = own_metrics(root)
    topics_there = [stack.arn(k) for k in stack.of_type("AWS::SNS::Topic")]
    runbook = (root / "infra/runbooks/stack.md").read_text(encoding="utf-8")
    anchors = re.findall(r'<a id="([a-z0-9-]+)"></a>', runbook)
    linked = set()
    for key, a in stack.of_type("AWS::CloudWatch::Alarm").items():
        dimensions = {d["Name"]: d["Value"] for d in a["Dimensions"]}
        if problem := metric_problem(stack, names, a["Namespace"], a["MetricName"], dimensions):
            yield f"{key}: {problem}"
        period, periods, points = int(a["Period"]), int(a["EvaluationPeriods"]), int(a["DatapointsToAlarm"])
        if period % 60 or period <= 0:
            yield f"{key}: a period is a multiple of 60 s"
        if not 1 <= points <= periods:
            yield f"{key}: {points} of {periods} points can never be"
        if period * periods > DAY:
            yield f"{key} looks at more than a day"
        if a["Namespace"] == "AWS/Lambda" and a["MetricName"] == "Errors" and float(a["Threshold"]) * 60 >= period * periods:
            yield f"{key}: more errors than there are minutes"
        if a["ComparisonOperator"] not in COMPARISONS or a["TreatMissingData"] not in MISSING or a["Statistic"] not in STATISTICS:
            yield f"{key}: {a['ComparisonOperator']}, {a['TreatMissingData']} or {a['Statistic']} is nothing that CloudWatch knows"
        if a["ComparisonOperator"].startswith("Less") != (a["TreatMissingData"] == "breaching"):
            yield f"{key}: that there is nothing must count as too little, and not as too much"
        if not set(a.get("AlarmActions", [])) & set(topics_there) or a.get("AlarmActions") != a.get("OKActions"):
            yield f"{key} tells nobody"
        if not a["AlarmName"].startswith(stack.name + "-"):
            yield f"{key}: its name does not begin with the stack's"
        m = re.search(r" (https://\S+)/stack\.md#([a-z0-9-]+)$", a["AlarmDescription"])
        if not m or m[2] not in anchors:
            yield f"{key} does not link to a paragraph of infra/runbooks/stack.md"
        else:
            linked.add(m[2])
        if len(a["AlarmDescription"]) > 1024:
            yield f"{key}: its description is too long"
    for anchor in set(anchors) - linked:
        declared = re.findall(r"stack\.md#([a-z0-9-]+)", json.dumps(stack.template))
        if anchor not in declared:
            yield f"infra/runbooks/stack.md has a paragraph {anchor} that no alarm links to"


def coverage(stack):
    """There is an alarm for each way to fail in silence."""
    watched = {(a["Namespace"], a["MetricName"], d["Value"]) for a in stack.of_type("AWS::CloudWatch::Alarm").values() for d in a["Dimensions"]}
    for key, q in queues_of(stack).items():
        if "RedrivePolicy" in q:
            if ("AWS/SQS", "ApproximateAgeOfOldestMessage", q["QueueName"]) not in watched:
                yield f"nothing watches the age of {key}"
        elif ("AWS/SQS", "ApproximateNumberOfMessagesVisible", q["QueueName"]) not in watched:
            yield f"nothing watches the depth of {key}"
    for key, f in stack.of_type("AWS::Lambda::Function").items():
        if ("AWS/Lambda", "Errors", f["FunctionName"]) not in watched:
            yield f"nothing watches the errors of {key}"
    for metric in ("Ticks", "OldestPendingSeconds", "TrailBlind", "RecordsRejected", "SettingsInvalid", "SlackErrors", "LateEvents"):
        if ("Keytrail", metric, stack.name) not in watched:
            yield f"nothing watches {metric}"


def dashboards(stack, root):
    """The dashboard is JSON, fits its grid, and shows what there is."""
    names = own_metrics(root)
    for key, d in stack.of_type("AWS::CloudWatch::Dashboard").items():
        try:
            body = json.loads(d["DashboardBody"])
        except ValueError as e:
            yield f"{key} is no JSON: {e}"
            continue
        taken = set()
        for w in body["widgets"]:
            at = f"{key}, the widget at {w['x']},{w['y']}"
            cells = {(x, y) for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])}
            if cells & taken:
                yield f"{at} lies over another"
            taken |= cells
            if w["x"] + w["width"] > 24:
                yield f"{at} is wider than the page"
            if w["type"] == "metric":
                for problem in shown_problems(stack, names, w["properties"]):
                    yield f"{at}: {problem}"
            elif w["type"] == "alarm":
                there = {stack.arn(k) for k in stack.of_type("AWS::CloudWatch::Alarm")}
                if missing := set(w["properties"]["alarms"]) - there:
                    yield f"{at} shows alarms that there are not: {sorted(missing)}"
            elif w["type"] != "text":
                yield f"{at} is of the type {w['type']}"


def shown_problems(stack, names, properties):
    """Says which metrics of a widget there are not. Dots repeat what is above."""
    if properties["region"] != stack.region:
        yield f"its Region is {properties['region']}"
    if not re.fullmatch(r"Sum|Average|Minimum|Maximum|SampleCount|p\d\d", properties["stat"]):
        yield f"{properties['stat']} is no statistic"
    above = []
    for row in properties["metrics"]:
        row = [part for part in row if not isinstance(part, dict)]
        if row[0] == "...":
            row = above[: len(above) - len(row) + 1] + row[1:]
        row = [above[i] if part == "." else part for i, part in enumerate(row)]
        above = row
        dimensions = dict(zip(row[2::2], row[3::2]))
        if problem := metric_problem(stack, names, row[0], row[1], dimensions):
            yield problem


# ------------------------------------------------------------- what is kept


def buckets(stack):
    """Versions, encryption, no public access, TLS only; never lost with the stack."""
    documents = {p["Bucket"]: p["PolicyDocument"] for p in stack.of_type("AWS::S3::BucketPolicy").values()}
    for key, b in stack.of_type("AWS::S3::Bucket").items():
        rules_there = b.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
        if [r["ServerSideEncryptionByDefault"] for r in rules_there] != [{"SSEAlgorithm": "AES256"}]:
            yield f"{key} is not encrypted with S3's own key"
        block = b.get("PublicAccessBlockConfiguration", {})
        if [block.get(k) for k in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")] != [True] * 4:
            yield f"{key} may become public"
        if b.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
            yield f"{key} heeds ACLs"
        if b.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{key} keeps no versions"
        r = stack.resources[key]
        if (r.get("DeletionPolicy"), r.get("UpdateReplacePolicy")) != ("RetainExceptOnCreate", "Retain"):
            yield f"{key} goes with the stack"
        document = documents.get(stack.value({"Ref": key}))
        if document is None or not refuses_plain(document, "s3:*"):
            yield f"{key} takes connections without TLS"
        yield from notifications(stack, key, b)


def notifications(stack, key, bucket):
    """S3 checks when a bucket is made that its targets let it send."""
    for c in bucket.get("NotificationConfiguration", {}).get("QueueConfigurations", []):
        queue = by_arn(stack, c["Queue"])
        if queue not in queues_of(stack) or not lets_in(stack, queue, "s3.amazonaws.com", stack.arn(key)):
            yield f"{key}: its notifications are refused by {queue or c['Queue']}"
        if not c["Event"].startswith("s3:ObjectCreated:"):
            yield f"{key} notifies of {c['Event']}"
    depends = as_list(stack.resources[key].get("DependsOn", []))
    if "QueueConfigurations" in bucket.get("NotificationConfiguration", {}) and "IngestQueuePolicy" not in depends:
        yield f"{key} does not wait for the queue's policy, and S3 refuses to notify"


def lifecycles(stack):
    """Nothing expires that is needed, everything else does."""
    for key, b in stack.of_type("AWS::S3::Bucket").items():
        rules_there = b.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("AbortIncompleteMultipartUpload" in r for r in rules_there):
            yield f"{key} keeps halves of uploads"
        for r in rules_there:
            if r["Status"] != "Enabled":
                yield f"{key}: the rule {r['Id']} is switched off"
            if r.get("ExpiredObjectDeleteMarker") and "ExpirationInDays" in r:
                yield f"{key}: the rule {r['Id']} has two kinds of expiration"
        if key != "LakeBucket":
            continue
        days = {r.get("Prefix", ""): int(r.get("ExpirationInDays", 0)) for r in rules_there}
        old = {r.get("Prefix", ""): int(r.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", 0)) for r in rules_there}
        retention = int(stack.parameters["RetentionDays"])
        expected = {"uses/": retention, "control/": retention, "done/": 90, "quarantine/": 90, "athena/": 30,
                    "memory/": 0, "inbox/": 0, "compacted/": 0, "settings/": 0, "": 0}
        if days != expected:
            yield f"LakeBucket: what expires when is {days}"
        if missing := [p for p in expected if p and not old.get(p)]:
            yield f"LakeBucket keeps old versions for ever: {missing}"
        if old.get("memory/") != 1:
            yield "LakeBucket keeps 1,440 generations of memory a day for more than one"


def tables(stack):
    """The table: keys, TTL, recovery, and no key that somebody can disable."""
    for key, t in stack.of_type("AWS::DynamoDB::Table").items():
        schema = [(k["AttributeName"], k["KeyType"]) for k in t["KeySchema"]]
        if schema != [("pk", "HASH"), ("sk", "RANGE")] or {a["AttributeType"] for a in t["AttributeDefinitions"]} != {"S"}:
            yield f"{key} has other keys than the functions use"
        if t.get("TimeToLiveSpecification") != {"AttributeName": "expires", "Enabled": True}:
            yield f"{key} lets nothing expire"
        if t.get("PointInTimeRecoverySpecification") != {"PointInTimeRecoveryEnabled": True}:
            yield f"{key} cannot be recovered"
        if t.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{key} is throttled by what is provisioned"
        if str(t.get("DeletionProtectionEnabled")) != stack.parameters["DeletionProtection"]:
            yield f"{key} does not heed DeletionProtection"
        if stack.resources[key].get("UpdateReplacePolicy") != "Retain":
            yield f"{key} goes when it is replaced"


# ------------------------------------------------------------- what is looked at

PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}


def glue(stack):
    """Tables with partitions computed from days. A Go test compares the columns."""
    bucket = stack.value({"Ref": "LakeBucket"}) if "LakeBucket" in stack.resources else ""
    for key, t in stack.of_type("AWS::Glue::Table").items():
        table = t["TableInput"]
        name, storage, p = table["Name"], table["StorageDescriptor"], table["Parameters"]
        if storage["Location"] != f"s3://{bucket}/{name}/":
            yield f"{key} is at {storage['Location']}"
        for part, expected in PARQUET.items():
            if storage.get(part) != expected:
                yield f"{key}: {part} is not Parquet's"
        if [(c["Name"], c["Type"]) for c in table["PartitionKeys"]] != [("day", "date")]:
            yield f"{key} is not parted by day"
        if any(not isinstance(v, str) for v in p.values()):
            yield f"{key}: parameters of a table are texts"
        expected = {
            "classification": "parquet", "EXTERNAL": "TRUE", "projection.enabled": "true", "projection.day.type": "date",
            "projection.day.format": "yyyy-MM-dd", "projection.day.interval": "1", "projection.day.interval.unit": "DAYS",
            "storage.location.template": f"s3://{bucket}/{name}/day=${{day}}",
            "projection.day.range": f"NOW-{stack.parameters['RetentionDays']}DAYS,NOW+1DAYS",
        }
        for parameter in expected.keys() | p.keys():
            if p.get(parameter) != expected.get(parameter):
                yield f"{key}: {parameter} is {p.get(parameter)!r} and not {expected.get(parameter)!r}"


def athena(stack):
    """A workgroup that cannot be talked out of its limit, and queries that use it."""
    for key, w in stack.of_type("AWS::Athena::WorkGroup").items():
        c = w["WorkGroupConfiguration"]
        if c.get("EnforceWorkGroupConfiguration") is not True or int(c.get("BytesScannedCutoffPerQuery", 0)) < 10_000_000:
            yield f"{key} has no limit that holds"
        if c["ResultConfiguration"].get("EncryptionConfiguration") != {"EncryptionOption": "SSE_S3"}:
            yield f"{key}: its answers are not encrypted with S3's own key"
    groups = [w["Name"] for w in stack.of_type("AWS::Athena::WorkGroup").values()]
    queries = stack.of_type("AWS::Athena::NamedQuery")
    if groups and len(queries) < 3:
        yield "there are fewer than three saved queries"
    for key, q in queries.items():
        if q.get("WorkGroup") not in groups:
            yield f"{key} is not in the workgroup"
        if "day >=" not in q["QueryString"]:
            yield f"{key} reads all days"
        if "partition by account, event_id" not in q["QueryString"]:
            yield f"{key} counts an event twice that lies in the lake twice"


# ------------------------------------------------------------------- the rest


def topics(stack):
    """The alarms reach the topic, and no key stands between."""
    policies = {arn: p["PolicyDocument"] for p in stack.of_type("AWS::SNS::TopicPolicy").values() for arn in p["Topics"]}
    for key in stack.of_type("AWS::SNS::Topic"):
        document = policies.get(stack.arn(key))
        if document is None or not refuses_plain(document, "sns:Publish"):
            yield f"{key} takes connections without TLS"
            continue
        for s in statements(document):
            if s["Effect"] == "Allow" and "Service" in s["Principal"] and not source_conditions(s):
                yield f"{key}: the statement {s.get('Sid')} lets any source in"
        alarms_there = [stack.arn(k) for k in stack.of_type("AWS::CloudWatch::Alarm")]
        if alarms_there and not any(
            s["Effect"] == "Allow" and s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
            and all(any(like(pattern, a) for pattern in source_conditions(s)) for a in alarms_there)
            for s in statements(document)
        ):
            yield f"{key} does not take what the alarms say"


def like(pattern, text):
    """Compares as IAM's ArnLike does, near enough for the patterns here."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None


def trails(stack):
    """A trail records everything of KMS and may write into its bucket."""
    documents = {p["Bucket"]: p["PolicyDocument"] for p in stack.of_type("AWS::S3::BucketPolicy").values()}
    for key, t in stack.of_type("AWS::CloudTrail::Trail").items():
        for what in ("IsLogging", "IsMultiRegionTrail", "IncludeGlobalServiceEvents", "EnableLogFileValidation"):
            if t.get(what) is not True:
                yield f"{key}: {what} is not true"
        selectors = t.get("EventSelectors", [])
        if not any(s.get("ReadWriteType") == "All" and s.get("IncludeManagementEvents") is True and not s.get("ExcludeManagementEventSources") for s in selectors):
            yield f"{key} does not record all that KMS does"
        document = documents.get(t["S3BucketName"])
        if document is None:
            continue  # a bucket of somebody else
        wanted = {"s3:GetBucketAcl", "s3:PutObject"}
        for s in statements(document):
            if s["Effect"] == "Allow" and s["Principal"] == {"Service": "cloudtrail.amazonaws.com"}:
                if source_conditions(s) != [stack.arn(key)]:
                    yield f"{key}: the bucket lets {source_conditions(s)} in"
                wanted -= set(as_list(s["Action"]))
        if wanted:
            yield f"{key} may not {sorted(wanted)} in its bucket"


# Properties that name a KMS key.
KEY_PROPERTIES = {"KmsMasterKeyId", "KmsKeyId", "KMSKeyId", "KMSMasterKeyID", "KMSMasterKeyId", "KmsKeyArn", "SSESpecification", "KmsKey"}


def keys(stack):
    """No customer-managed key on the way of an alert."""
    if stack.parameters.get("KeyArn"):
        return  # the organisation's trail, whose user asks for one

    def named(value, path):
        if isinstance(value, dict):
            for k, v in value.items():
                if k in KEY_PROPERTIES:
                    yield f"{path} has {k}: whoever disables that key stops it"
                yield from named(v, path)
        elif isinstance(value, list):
            for v in value:
                yield from named(v, path)

    for key, resource in stack.resources.items():
        yield from named(resource.get("Properties", {}), key)


def outputs(stack):
    """What the outputs tell people to type must have no holes."""
    for key, value in stack.outputs.items():
        if not isinstance(value, str) or not value.strip() or "${" in value or len(value) > 4096:
            yield f"the output {key} is {value!r}"


CHECKS = (
    queues, dead_letters, queue_policies, mappings, functions, environment, schedules, roles, rules, alarms, coverage,
    dashboards, buckets, lifecycles, tables, glue, athena, topics, trails, keys, outputs,
)
NEED_ROOT = {functions, environment, schedules, alarms, dashboards}  # they read the project's files too


def piece_problems(stack):
    """Returns what is wrong with a piece of infra/, which is no whole stack."""
    found = []
    for check in (queues, queue_policies, roles, rules, buckets, topics, trails, keys, outputs):
        found += [p for p in check(stack) if p not in found]
    return found
