"""Calls that are not allowed, and rights that nobody needs, are found."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import iam
from parameters import CASES
from resolve import Stack
from test_assertions import statement, template

WORLD = {
    "account": "123456789012", "region": "eu-west-1", "stack": "kt", "parameters": CASES[1].parameters,
    "names": {"LakeBucket": "lake", "Table": "alerts"},
}


def stack(plant=None):
    t = copy.deepcopy(template())
    if plant:
        plant(t)
    return Stack(t, **WORLD)


def call(function, action, resource):
    return {"function": function, "action": action, "resource": resource}


def every_call():
    """Returns calls that use every right once: as if all of it had been recorded."""
    return [call(f, action, resource.replace("*", "x")) for f, action, resource in iam.allowed(stack())]


def found(calls, plant=None, documented=frozenset()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.json"
        path.write_text(json.dumps(calls), encoding="utf-8")
        return iam.problems(stack(plant), iam.read(path), documented)


class Comparison(unittest.TestCase):
    def test_what_is_recorded_and_allowed_is_no_problem(self):
        self.assertEqual([], found(every_call()))

    def test_a_call_that_is_not_allowed(self):
        for c in (
            call("IngestFunction", "s3:DeleteObject", "arn:aws:s3:::lake/uses/x"),
            call("IngestFunction", "s3:PutObject", "arn:aws:s3:::lake/memory/0/manifest.json"),
            call("IngestFunction", "s3:PutObject", "arn:aws:s3:::other/uses/x"),
            call("DoctorFunction", "sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:kt-ingest"),
            call("AnalyzeFunction", "dynamodb:ConditionCheckItem", "arn:aws:dynamodb:eu-west-1:123456789012:table/alerts"),
        ):
            with self.subTest(c):
                self.assertEqual([f"{c['function']} may not {c['action']} on {c['resource']}, and does"], found([*every_call(), c]))

    def test_a_right_that_nobody_used(self):
        calls = [c for c in every_call() if (c["function"], c["action"]) != ("AnalyzeFunction", "dynamodb:Query")]
        self.assertEqual(["AnalyzeFunction may dynamodb:Query on arn:aws:dynamodb:eu-west-1:123456789012:table/alerts, and never did"], found(calls))

    def test_a_right_on_one_prefix_that_nobody_used(self):
        calls = [c for c in every_call() if "quarantine" not in c["resource"]]
        self.assertEqual(
            {f"IngestFunction may {a} on arn:aws:s3:::lake/quarantine/*, and never did" for a in ("s3:GetObject", "s3:PutObject")}, set(found(calls))
        )

    def test_a_right_that_is_excused(self):
        calls = [c for c in every_call() if "quarantine" not in c["resource"]]
        excuse = {("IngestFunction", a, "arn:aws:s3:::*/quarantine/*") for a in ("s3:GetObject", "s3:PutObject")}
        self.assertEqual([], found(calls, documented=excuse))

    def test_an_excuse_for_a_right_that_there_is_not(self):
        excuse = {("IngestFunction", "s3:DeleteObject", "arn:aws:s3:::*")}
        self.assertEqual(["unrecorded.yaml excuses IngestFunction s3:DeleteObject on arn:aws:s3:::*, which is not allowed"], list(iam.stale(stack(), excuse)))

    def test_a_function_that_there_is_not(self):
        self.assertIn("RespondFunction made a call, and is no function of the template", found([*every_call(), call("RespondFunction", "s3:GetObject", "x")]))

    def test_a_right_that_was_taken_away(self):
        def plant(t):
            statement(t, "NotifyRole", "ReadSecret")["Resource"] = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:other-AbCdEf"

        said = found(every_call(), plant)
        self.assertTrue(any(s.startswith("NotifyFunction may not secretsmanager:GetSecretValue") for s in said), said)

    def test_the_shipped_excuses_are_all_for_rights_that_there_are(self):
        self.assertEqual([], list(iam.stale(stack(), iam.unrecorded())))

    def test_excuses_cover_what_tests_cannot_do_and_not_what_they_must(self):
        said = iam.problems(stack(), [("IngestFunction", "s3:GetObject", "arn:aws:s3:::lake/done/0/x.json")], iam.unrecorded())
        must = [s for s in said if s.endswith("never did")]
        for words in (
            "IngestFunction may s3:PutObject on arn:aws:s3:::lake/uses/*", "AnalyzeFunction may sqs:SendMessage", "AnalyzeFunction may s3:PutObject on arn:aws:s3:::lake/memory/*",
            "NotifyFunction may secretsmanager:GetSecretValue", "DoctorFunction may cloudtrail:GetEventSelectors", "BackfillFunction may sqs:SendMessage",
        ):
            self.assertTrue(any(s.startswith(words) for s in must), words)


class Records(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recorded.json"
            path.write_text(text, encoding="utf-8")
            return iam.read(path)

    def test_operations_are_looked_up_and_repeats_dropped(self):
        calls = [call("F", op, "r") for op in ("s3:HeadObject", "s3:GetObject", "s3:ListObjectsV2", "s3:DeleteObjects", "sqs:SendMessageBatch")]
        self.assertEqual(
            [("F", a, "r") for a in ("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "sqs:SendMessage")], self.read(json.dumps(calls))
        )

    def test_what_proves_nothing_is_refused(self):
        for text in ("[]", '[{"function":"F"}]', '[["F","s3:GetObject","r"]]', json.dumps([call("F", "dynamodb:TransactWriteItems", "r")])):
            with self.subTest(text), self.assertRaises(iam.RecordError):
                self.read(text)

    def test_the_world_of_a_recording_is_told_in_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "names.json"
            path.write_text(json.dumps(WORLD), encoding="utf-8")
            self.assertEqual("arn:aws:s3:::lake", iam.world(template(), path).arn("LakeBucket"))
            for wrong in ({"LakeBucket": "lake"}, {"names": {"Lake": "lake"}}):
                path.write_text(json.dumps({**WORLD, **wrong}), encoding="utf-8")
                with self.assertRaises(iam.RecordError):
                    iam.world(template(), path)

    def test_an_excuse_needs_a_reason(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "unrecorded.yaml"
            path.write_text('F:\n  - why: ""\n    actions: [a]\n    resources: [b]\n', encoding="utf-8")
            with self.assertRaises(iam.RecordError):
                iam.unrecorded(path)

    def test_resources_are_compared_as_iam_does(self):
        self.assertTrue(iam.covers("arn:aws:s3:::lake/uses/*", "arn:aws:s3:::lake/uses/day=2026-03-02/a.parquet"))
        self.assertTrue(iam.covers("*", "anything"))
        self.assertFalse(iam.covers("arn:aws:s3:::lake", "arn:aws:s3:::lake/uses"))
        self.assertFalse(iam.covers("arn:aws:s3:::lake/uses/*", "arn:aws:s3:::lakexuses/a"))
        self.assertFalse(iam.covers("a.c", "abc"))


if __name__ == "__main__":
    unittest.main()
