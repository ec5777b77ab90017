"""Rules that differ from what detections read are found."""

import copy
import unittest

import pattern
from parameters import CASES
from resolve import Stack
from test_assertions import properties, template

READ = {
    "kms.amazonaws.com": {"*"},
    "cloudtrail.amazonaws.com": {
        "CreateEventDataStore", "CreateTrail", "DeleteTrail", "PutEventSelectors", "StopLogging", "UpdateEventDataStore", "UpdateTrail",
    },
}


def found(plant=None, read=READ):
    t = copy.deepcopy(template())
    if plant:
        plant(t)
    return pattern.problems(Stack(t, CASES[0].parameters), read)


class Patterns(unittest.TestCase):
    def test_the_same_is_no_problem(self):
        self.assertEqual([], found())

    def test_a_call_that_no_rule_takes(self):
        def plant(t):
            properties(t, "TrailCallsRule")["EventPattern"]["detail"]["eventName"].remove("StopLogging")

        self.assertEqual(["no rule takes cloudtrail.amazonaws.com: StopLogging"], found(plant))

    def test_a_call_that_nothing_reads(self):
        def plant(t):
            properties(t, "TrailCallsRule")["EventPattern"]["detail"]["eventName"].append("LookupEvents")

        self.assertEqual(["a rule takes cloudtrail.amazonaws.com: LookupEvents, which nothing reads"], found(plant))

    def test_a_service_that_no_rule_takes(self):
        read = {**READ, "secretsmanager.amazonaws.com": {"GetSecretValue"}}
        self.assertEqual(["no rule takes secretsmanager.amazonaws.com: GetSecretValue"], found(read=read))

    def test_names_where_all_are_read(self):
        def plant(t):
            properties(t, "KmsCallsRule")["EventPattern"]["detail"]["eventName"] = ["Decrypt"]

        self.assertIn("no rule takes kms.amazonaws.com: *", found(plant))

    def test_a_source_of_another_service(self):
        def plant(t):
            properties(t, "KmsCallsRule")["EventPattern"]["source"] = ["aws.s3"]

        self.assertIn("come from ['aws.kms'], and not ['aws.s3']", found(plant)[0])

    def test_all_of_a_service_is_all(self):
        self.assertEqual({"a": {"*"}, "b": {"x"}}, pattern.whole({"a": {"*", "x"}, "b": {"x"}}))


if __name__ == "__main__":
    unittest.main()
