"""Compares the event patterns of rules with what the detections read.

The catalogue says which events somebody reads. A rule that leaves one out makes
its detections minutes late; one that takes more fills the queue for nothing.
"""

import json
import subprocess

CALLS = {"AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"}
ANY = "*"


def read_by_detections(keytrail):
    """Returns {source: {event name or *}} of `keytrail detections list`."""
    run = subprocess.run([keytrail, "detections", "list", "--format", "json"], capture_output=True, text=True, check=True)
    read = {}
    for line in run.stdout.splitlines():
        for event in json.loads(line).get("events", []):
            source, name = event.split(":", 1)
            read.setdefault(source, set()).add(name)
    return whole(read)


def taken_by_rules(stack):
    """Returns the same of the rules of a stack that take calls of CloudTrail."""
    taken = {}
    for rule in stack.of_type("AWS::Events::Rule").values():
        pattern = rule["EventPattern"]
        if not CALLS & set(pattern.get("detail-type", [])):
            continue
        detail = pattern.get("detail", {})
        for source in detail["eventSource"]:
            taken.setdefault(source, set()).update(detail.get("eventName", [ANY]))
    return whole(taken)


def whole(events):
    return {source: {ANY} if ANY in names else names for source, names in events.items()}


def source_problems(stack):
    """Says where the source of a rule and the source in its detail differ."""
    for key, rule in stack.of_type("AWS::Events::Rule").items():
        pattern = rule["EventPattern"]
        if CALLS & set(pattern.get("detail-type", [])):
            expected = ["aws." + s.removesuffix(".amazonaws.com") for s in pattern["detail"]["eventSource"]]
            if pattern["source"] != expected:
                yield f"{key}: events of {pattern['detail']['eventSource']} come from {expected}, and not {pattern['source']}"


def problems(stack, read):
    """Says how the rules of a stack differ from what is read."""
    found, taken = list(source_problems(stack)), taken_by_rules(stack)
    for source in sorted(read.keys() | taken.keys()):
        want, have = read.get(source, set()), taken.get(source, set())
        if missing := want - have:
            found.append(f"no rule takes {source}: {', '.join(sorted(missing))}")
        if spare := have - want:
            found.append(f"a rule takes {source}: {', '.join(sorted(spare))}, which nothing reads")
    return found
