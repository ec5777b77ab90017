"""moto's server, with the CloudFormation types that it would skip.

moto creates a stack without the resources whose types it does not know, and calls
that a success. Each type here makes its resource through moto's own API with
boto3, which checks the shape of the call as AWS would.

    python infra/check/emulator.py PORT
"""

import json
import sys

import boto3
from moto.core.common_models import CloudFormationModel
from moto.server import main

PORT = sys.argv[1] if len(sys.argv) > 1 else "5000"


def client(service, region):
    # moto tells services apart by the name localhost; 127.0.0.1 it takes for S3.
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://localhost:{PORT}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def coerce(value, shape):
    """Gives a value the type that the API wants: CloudFormation passes texts."""
    kind = shape.type_name
    if kind == "structure":
        if unknown := value.keys() - shape.members.keys():
            raise ValueError(f"{shape.name} has no {', '.join(sorted(unknown))}")
        return {k: coerce(v, shape.members[k]) for k, v in value.items()}
    if kind == "list":
        return [coerce(v, shape.member) for v in value]
    if kind == "map":
        return {str(k): coerce(v, shape.value) for k, v in value.items()}
    if kind == "boolean":
        return value in (True, "true", "True")
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("double", "float"):
        return float(value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def call(service, region, operation, **parameters):
    """Calls an operation with parameters of any type."""
    c = client(service, region)
    shape = c.meta.service_model.operation_model(c.meta.method_to_api_mapping[operation]).input_shape
    return getattr(c, operation)(**coerce(parameters, shape))


# Each of these makes a resource and returns its physical id and its attributes.


def bucket_policy(region, name, p):
    call("s3", region, "put_bucket_policy", **{"Bucket": p["Bucket"], "Policy": json.dumps(p["PolicyDocument"])})
    return p["Bucket"], {}


def queue_policy(region, name, p):
    for url in p["Queues"]:
        call("sqs", region, "set_queue_attributes", QueueUrl=url, Attributes={"Policy": json.dumps(p["PolicyDocument"])})
    return name, {}


def topic_policy(region, name, p):
    for arn in p["Topics"]:
        call(
            "sns", region, "set_topic_attributes",
            TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(p["PolicyDocument"]),
        )
    return name, {}


def subscription(region, name, p):
    p = dict(p)
    region = p.pop("Region", region)
    return call("sns", region, "subscribe", **p)["SubscriptionArn"], {}


def alarm(region, name, p):
    call("cloudwatch", region, "put_metric_alarm", **p)
    return p["AlarmName"], {"Arn": f"arn:aws:cloudwatch:{region}:123456789012:alarm:{p['AlarmName']}"}


def glue_database(region, name, p):
    call("glue", region, "create_database", **p)
    return p["DatabaseInput"]["Name"], {}


def glue_table(region, name, p):
    call("glue", region, "create_table", **p)
    return p["TableInput"]["Name"], {}


def work_group(region, name, p):
    p = dict(p)
    p.pop("RecursiveDeleteOption", None)  # of the deletion
    p["Configuration"] = p.pop("WorkGroupConfiguration")
    call("athena", region, "create_work_group", **p)
    return p["Name"], {}


def named_query(region, name, p):
    return call("athena", region, "create_named_query", **p)["NamedQueryId"], {}


def schedule(region, name, p):
    p = {"Name": name, **p}
    return p["Name"], {"Arn": call("scheduler", region, "create_schedule", **p)["ScheduleArn"]}


def event_invoke_config(region, name, p):
    p = dict(p)
    p.pop("Qualifier")  # $LATEST
    call("lambda", region, "put_function_event_invoke_config", **p)
    return p["FunctionName"], {}


def trail(region, name, p):
    p = dict(p)
    logging, selectors = p.pop("IsLogging"), p.pop("EventSelectors", [])
    if "KMSKeyId" in p:
        p["KmsKeyId"] = p.pop("KMSKeyId")
    p["Name"] = p.pop("TrailName", name)
    arn = call("cloudtrail", region, "create_trail", **p)["TrailARN"]
    if selectors:
        call("cloudtrail", region, "put_event_selectors", TrailName=arn, EventSelectors=selectors)
    if logging in (True, "true"):
        call("cloudtrail", region, "start_logging", Name=arn)
    return p["Name"], {"Arn": arn}


MAKERS = {
    "AWS::Athena::NamedQuery": named_query,
    "AWS::Athena::WorkGroup": work_group,
    "AWS::CloudTrail::Trail": trail,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::Glue::Database": glue_database,
    "AWS::Glue::Table": glue_table,
    "AWS::Lambda::EventInvokeConfig": event_invoke_config,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::SQS::QueuePolicy": queue_policy,
    "AWS::Scheduler::Schedule": schedule,
}


def model(kind, maker):
    """Returns the class by which moto's CloudFormation knows a type."""

    class Model(CloudFormationModel):
        __module__ = "moto.keytrail"  # moto takes the name apart at its dot

        @staticmethod
        def cloudformation_name_type():
            return None

        @staticmethod
        def cloudformation_type():
            return kind

        @classmethod
        def has_cfn_attr(cls, attr):
            return True

        def get_cfn_attribute(self, attribute_name):
            return self.attributes[attribute_name]

        @property
        def physical_resource_id(self):
            return self.physical_id

        def is_created(self):
            return True

        @classmethod
        def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_):
            resource = cls()
            resource.physical_id, resource.attributes = maker(region_name, resource_name, cloudformation_json["Properties"])
            return resource

        @classmethod
        def delete_from_cloudformation_json(cls, *_, **__):
            pass

    Model.__name__ = kind.replace("::", "")
    return Model


# moto finds them among the subclasses, which it does not keep alive.
MODELS = [model(kind, maker) for kind, maker in MAKERS.items()]

if __name__ == "__main__":
    main(["-H", "127.0.0.1", "-p", PORT])
