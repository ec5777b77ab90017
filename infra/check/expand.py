"""Turns a SAM template into the CloudFormation template that AWS would make of it.

SAM's transform runs in AWS when a stack is deployed. Here it runs on this machine,
so that what comes out can be looked at: much of what is wrong with a template
shows only there.

    python infra/check/expand.py PACKAGED.yaml OUT.json
"""

import json
import logging
import sys

from boto3.session import Session
from samcli.yamlhelper import parse_yaml_file
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


# It warns that it sends no metrics of its use, which is as it should be.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)


class ExpandError(Exception):
    """The template is not one that SAM takes."""


def expand(path, region="eu-central-1", code=None):
    """Returns the expanded template of a file whose functions are in S3.

    That is what `sam package` writes. A function whose code is a folder would be
    refused, for by then AWS cannot see it: code, when given, stands for all of it.
    """
    template = parse_yaml_file(path)
    for resource in template["Resources"].values():
        if code and resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = code
    translator = Translator(
        managed_policy_map={},
        sam_parser=Parser(),
        plugins=[],
        boto_session=Session(region_name=region),
    )
    try:
        expanded = translator.translate(
            sam_template=template, parameter_values={}, get_managed_policy_map=dict
        )
    except InvalidDocumentException as e:
        raise ExpandError("\n".join([str(e), *(str(c) for c in e.causes)])) from e
    expanded.pop("Transform", None)
    # What `sam build` and `sam package` leave for themselves.
    for resource in expanded["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource.pop("Metadata", None)
    return expanded


if __name__ == "__main__":
    try:
        out = expand(sys.argv[1])
    except ExpandError as e:
        sys.exit(str(e))
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        json.dump(out, f, indent=1)
