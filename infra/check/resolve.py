"""Works out what a CloudFormation template says for given parameters.

Conditions are decided, and Ref, GetAtt, Sub and the other functions become the
values that they would have in a stack. Physical names that AWS would make up are
STACK-LOGICALID; ARNs have the shape of their type. So a check compares strings,
and not how somebody wrote them.
"""

import re

ACCOUNT = "111122223333"
REGION = "eu-central-1"
STACK = "keytrail"

NO_VALUE = object()

# ARNs by type: %n is the physical name.
ARNS = {
    "AWS::CloudTrail::Trail": "arn:aws:cloudtrail:{region}:{account}:trail/%n",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:%n",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/%n",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/%n",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/%n",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:%n",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:%n:*",
    "AWS::S3::Bucket": "arn:aws:s3:::%n",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:%n",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:%n",
}

# The property that holds the physical name of a type.
NAMES = {
    "AWS::Athena::WorkGroup": "Name",
    "AWS::CloudTrail::Trail": "TrailName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Glue::Database": "DatabaseInput.Name",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::Schedule": "Name",
}


class ResolveError(Exception):
    """The template refers to something that it does not have."""


class Stack:
    """A template with its parameters.

    resources and outputs hold what exists, resolved: {logical id: {"Type",
    "Properties", ...}}. absent names the resources whose condition is false.
    """

    def __init__(self, template, parameters=None, names=None, account=ACCOUNT, region=REGION, stack=STACK):
        self.template = template
        self.account, self.region, self.name = account, region, stack
        self.names = names or {}
        self.parameters = self._parameters(parameters or {})
        self.conditions = template.get("Conditions", {})
        all_resources = template["Resources"]
        self.absent = {k for k, r in all_resources.items() if "Condition" in r and not self.holds(r["Condition"])}
        self.resources = {}
        for key, resource in all_resources.items():
            if key not in self.absent:
                self.resources[key] = {k: self.value(v) for k, v in resource.items() if k != "Condition"}
        self.outputs = {
            k: self.value(o["Value"])
            for k, o in template.get("Outputs", {}).items()
            if "Condition" not in o or self.holds(o["Condition"])
        }

    def of_type(self, kind):
        """Returns the resources of a type: {logical id: properties}."""
        return {k: r.get("Properties", {}) for k, r in self.resources.items() if r["Type"] == kind}

    def arn(self, key):
        """Returns the ARN of a resource."""
        return self._attribute(key, "Arn")

    def _parameters(self, given):
        values = {}
        declared = self.template.get("Parameters", {})
        for unknown in given.keys() - declared.keys():
            raise ResolveError(f"there is no parameter {unknown}")
        for key, p in declared.items():
            if key not in given and "Default" not in p:
                raise ResolveError(f"the parameter {key} has no value")
            value = str(given.get(key, p.get("Default")))
            self._check(key, p, value)
            values[key] = value.split(",") if p["Type"] == "CommaDelimitedList" else value
        return values

    @staticmethod
    def _check(key, p, value):
        """Refuses what CloudFormation refuses. Emulators do not."""
        parts = value.split(",") if p["Type"] == "CommaDelimitedList" else [value]
        pattern = p.get("AllowedPattern")
        for part in parts:
            if pattern and not re.fullmatch(pattern, part):
                raise ResolveError(f"{key}={part!r} does not fit {pattern}")
        if "AllowedValues" in p and value not in map(str, p["AllowedValues"]):
            raise ResolveError(f"{key}={value!r} is none of {p['AllowedValues']}")
        if p["Type"] == "Number" and not p.get("MinValue", 0) <= float(value) <= p.get("MaxValue", float("inf")):
            raise ResolveError(f"{key}={value} is out of its bounds")

    def holds(self, name):
        """Decides a condition."""
        if name not in self.conditions:
            raise ResolveError(f"there is no condition {name}")
        return self._decide(self.conditions[name])

    def _decide(self, c):
        (function, of), = c.items()
        if function == "Condition":
            return self.holds(of)
        if function == "Fn::Not":
            return not self._decide(of[0])
        if function == "Fn::And":
            return all(self._decide(part) for part in of)
        if function == "Fn::Or":
            return any(self._decide(part) for part in of)
        if function == "Fn::Equals":
            return str(self.value(of[0])) == str(self.value(of[1]))
        raise ResolveError(f"a condition cannot have {function}")

    def value(self, v):
        """Resolves a value."""
        if isinstance(v, list):
            return [r for r in map(self.value, v) if r is not NO_VALUE]
        if not isinstance(v, dict):
            return v
        if len(v) == 1:
            (function, of), = v.items()
            if function == "Ref":
                return self._ref(of)
            if function.startswith("Fn::"):
                return self._function(function, of)
        resolved = {k: self.value(x) for k, x in v.items()}
        return {k: x for k, x in resolved.items() if x is not NO_VALUE}

    def _ref(self, name):
        pseudo = {
            "AWS::AccountId": self.account,
            "AWS::NoValue": NO_VALUE,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        kind = self._type(name)
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{self._physical(name)}"
        if kind == "AWS::SNS::Topic":
            return self._attribute(name, "Arn")
        return self._physical(name)

    def _function(self, function, of):
        if function == "Fn::If":
            return self.value(of[1] if self.holds(of[0]) else of[2])
        if function == "Fn::GetAtt":
            return self._attribute(*(of.split(".", 1) if isinstance(of, str) else of))
        if function == "Fn::Join":
            return of[0].join(map(str, self.value(of[1])))
        if function == "Fn::Split":
            return self.value(of[1]).split(of[0])
        if function == "Fn::Select":
            return self.value(of[1])[int(of[0])]
        if function == "Fn::Sub":
            text, given = of if isinstance(of, list) else (of, {})
            return re.sub(r"\$\{([^}]+)\}", lambda m: self._substitute(m[1], given), text)
        raise ResolveError(f"{function} is not known here")

    def _substitute(self, name, given):
        if name.startswith("!"):
            return "${" + name[1:] + "}"
        if name in given:
            return str(self.value(given[name]))
        if "." in name:
            return str(self._attribute(*name.split(".", 1)))
        return str(self._ref(name))

    def _type(self, key):
        if key not in self.template["Resources"]:
            raise ResolveError(f"there is no resource or parameter {key}")
        if key in self.absent:
            raise ResolveError(f"{key} is referred to where its condition is false")
        return self.template["Resources"][key]["Type"]

    def _physical(self, key):
        if key in self.names:
            return self.names[key]
        resource = self.template["Resources"][key]
        name = resource.get("Properties", {})
        for part in NAMES.get(resource["Type"], "no such property").split("."):
            name = (name or {}).get(part)
        return self.value(name) if name else f"{self.name}-{key}".lower()

    def _attribute(self, key, attribute):
        kind = self._type(key)
        if attribute == "Arn" and kind in ARNS:
            arn = ARNS[kind].format(region=self.region, account=self.account)
            return arn.replace("%n", self._physical(key))
        if attribute == "QueueName":
            return self._physical(key)
        raise ResolveError(f"{key} of type {kind} has no {attribute} here")
