"""A resource that the emulator left out, or made against its condition, is found."""

import unittest

from create import compare
from resolve import Stack

TEMPLATE = {
    "Parameters": {"With": {"Type": "String", "Default": "no"}},
    "Conditions": {"Both": {"Fn::Equals": [{"Ref": "With"}, "yes"]}},
    "Resources": {
        "Table": {"Type": "AWS::DynamoDB::Table"},
        "Topic": {"Type": "AWS::SNS::Topic", "Condition": "Both"},
    },
}


class Service:
    """Any service; it has what it is told."""

    def __init__(self, there):
        self.there = there

    def describe_table(self, TableName):
        if TableName not in self.there:
            raise LookupError("ResourceNotFoundException")
        return {}

    def get_topic_attributes(self, TopicArn):
        return {}


class Emulator:
    def __init__(self, *there):
        self.there = there

    def client(self, service, region=None):
        return Service(self.there)


class Compare(unittest.TestCase):
    def test_all_there_is_no_problem(self):
        self.assertEqual([], compare(Emulator("t"), Stack(TEMPLATE), {"Table": ("AWS::DynamoDB::Table", "t")}))

    def test_one_that_was_not_made(self):
        self.assertEqual(["Table (AWS::DynamoDB::Table) was not created"], compare(Emulator(), Stack(TEMPLATE), {}))

    def test_one_that_its_service_does_not_know(self):
        said = compare(Emulator(), Stack(TEMPLATE), {"Table": ("AWS::DynamoDB::Table", "t")})
        self.assertIn("its service says: ResourceNotFoundException", said[0])

    def test_one_whose_condition_is_false(self):
        there = {"Table": ("AWS::DynamoDB::Table", "t"), "Topic": ("AWS::SNS::Topic", "arn")}
        self.assertEqual(["Topic was created although its condition is false"], compare(Emulator("t"), Stack(TEMPLATE), there))
        self.assertEqual([], compare(Emulator("t"), Stack(TEMPLATE, {"With": "yes"}), there))

    def test_one_of_a_type_that_nobody_asks_for(self):
        template = {"Resources": {"Key": {"Type": "AWS::KMS::Key"}}}
        said = compare(Emulator(), Stack(template), {"Key": ("AWS::KMS::Key", "k")})
        self.assertEqual(["Key: nobody here knows how to ask for a AWS::KMS::Key"], said)


if __name__ == "__main__":
    unittest.main()
