"""What resolve.py makes of CloudFormation's functions."""

import unittest

from resolve import ResolveError, Stack


def stack(resources, parameters=None, conditions=None, given=None, **more):
    return Stack({"Resources": resources, "Parameters": parameters or {}, "Conditions": conditions or {}}, given, **more)


def value_of(v, **more):
    """Resolves a value that a queue has."""
    s = stack({"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q", "V": v}}}, **more)
    return s.of_type("AWS::SQS::Queue")["Q"].get("V")


LIST = {"List": {"Type": "CommaDelimitedList", "Default": "a,b"}, "Empty": {"Type": "CommaDelimitedList", "Default": ""}}


class Values(unittest.TestCase):
    def test_functions_become_their_values(self):
        for v, expected in (
            ({"Ref": "AWS::Region"}, "eu-central-1"),
            ({"Ref": "List"}, ["a", "b"]),
            ({"Fn::Join": ["-", {"Ref": "List"}]}, "a-b"),
            ({"Fn::Split": [",", {"Fn::Join": ["", [{"Fn::Join": ["/*,", {"Ref": "List"}]}, "/*"]]}]}, ["a/*", "b/*"]),
            ({"Fn::Select": [1, {"Ref": "List"}]}, "b"),
            ({"Fn::Sub": "arn:${AWS::Partition}:${Q.Arn}:${!day}"}, "arn:aws:arn:aws:sqs:eu-central-1:111122223333:q:${day}"),
            ({"Fn::Sub": ["${A}/x", {"A": {"Ref": "AWS::AccountId"}}]}, "111122223333/x"),
            ({"Fn::GetAtt": ["Q", "Arn"]}, "arn:aws:sqs:eu-central-1:111122223333:q"),
            ({"Fn::GetAtt": "Q.QueueName"}, "q"),
            ({"Ref": "Q"}, "https://sqs.eu-central-1.amazonaws.com/111122223333/q"),
            ([1, {"Ref": "AWS::NoValue"}, 2], [1, 2]),
            ({"Ref": "AWS::NoValue"}, None),
        ):
            with self.subTest(v):
                self.assertEqual(expected, value_of(v, parameters=LIST))

    def test_names_and_accounts_can_be_given(self):
        s = stack({"Bucket": {"Type": "AWS::S3::Bucket"}}, names={"Bucket": "lake"}, account="1", region="r", stack="s")
        self.assertEqual("arn:aws:s3:::lake", s.arn("Bucket"))
        self.assertEqual("s-bucket", stack({"Bucket": {"Type": "AWS::S3::Bucket"}}, stack="s").arn("Bucket").split(":")[-1])

    def test_what_there_is_not_is_refused(self):
        for v in ({"Ref": "Nothing"}, {"Fn::GetAtt": ["Nothing", "Arn"]}, {"Fn::Sub": "${Nothing}"}, {"Fn::GetAtt": ["Q", "Url"]}, {"Fn::Cidr": []}):
            with self.subTest(v), self.assertRaises(ResolveError):
                value_of(v)


class Conditions(unittest.TestCase):
    conditions = {
        "Yes": {"Fn::Equals": [{"Ref": "Number"}, 1]},
        "No": {"Fn::Not": [{"Condition": "Yes"}]},
        "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Any": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Empty": {"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Empty"}]}, ""]},
    }
    parameters = {"Number": {"Type": "Number", "Default": 1}, **LIST}

    def test_they_are_decided(self):
        resources = {name: {"Type": "AWS::SNS::Topic", "Condition": name} for name in self.conditions}
        s = stack(resources, self.parameters, self.conditions)
        self.assertEqual({"Yes", "Any", "Empty"}, set(s.resources))
        self.assertEqual({"No", "Both"}, s.absent)

    def test_what_is_absent_cannot_be_referred_to(self):
        queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Topic"}}}
        topic = {"Type": "AWS::SNS::Topic", "Condition": "No"}
        with self.assertRaisesRegex(ResolveError, "Topic is referred to where its condition is false"):
            stack({"Q": queue, "Topic": topic}, self.parameters, self.conditions)

    def test_if_takes_one_side_only(self):
        v = {"Fn::If": ["No", {"Ref": "Nothing"}, {"Ref": "AWS::StackName"}]}
        self.assertEqual("keytrail", value_of(v, parameters=self.parameters, conditions=self.conditions))


class Parameters(unittest.TestCase):
    def test_they_are_held_against_what_is_declared(self):
        declared = {
            "Text": {"Type": "String", "AllowedPattern": "^[a-z]+$"},
            "Choice": {"Type": "Number", "AllowedValues": [1, 2], "Default": 1},
            "Days": {"Type": "Number", "MinValue": 2, "MaxValue": 3, "Default": 2},
            "Many": {"Type": "CommaDelimitedList", "AllowedPattern": "^[a-z]?$", "Default": ""},
        }
        stack({}, declared, given={"Text": "abc", "Many": "a,b"})
        for given in ({}, {"Text": "ABC"}, {"Text": "a", "Choice": "3"}, {"Text": "a", "Days": "4"}, {"Text": "a", "Many": "a,bc"}, {"Text": "a", "More": "1"}):
            with self.subTest(given), self.assertRaises(ResolveError):
                stack({}, declared, given=given)


if __name__ == "__main__":
    unittest.main()
