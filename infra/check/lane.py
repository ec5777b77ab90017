"""What `make template` runs: everything about the AWS side that can be proven here.

Each step is printed with what it found. The first that fails ends it.

    python infra/check/lane.py                       the whole lane
    python infra/check/lane.py --iam recorded.json --names names.json
                                     and compare the roles with calls that were
                                     recorded in end-to-end tests; see iam.py
    python infra/check/lane.py --only-iam --iam …    only that, without a build
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

import assertions
import bootstraps
import iam
import pattern
from cfnlint import decode as cfn_decode
from create import REGION, Emulator, compare, create
from expand import expand
from parameters import CASES, PIECES
from resolve import Stack

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache/sam"
BIN = Path(sys.executable).parent

ENVIRONMENT = {
    "SAM_CLI_TELEMETRY": "0",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Failed(Exception):
    """A step found what must not be."""


def run(*command, **environment):
    """Runs a tool; what it says is shown when it fails."""
    result = subprocess.run(
        [str(c) for c in command], cwd=ROOT, env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def none(problems):
    """Fails when there are problems."""
    problems = list(problems)
    if problems:
        raise Failed("\n".join(f"- {p}" for p in problems))


class Lane:
    """The steps, in their order, with what they hand on."""

    def __init__(self, arguments, emulator):
        self.arguments = arguments
        self.emulator = emulator
        self.expanded = None
        self.artifacts = {}

    def unit_tests(self):
        """The tests of these checks: each mistake that is planted is found."""
        suite = unittest.defaultTestLoader.discover(str(Path(__file__).parent), pattern="test_*.py")
        result = unittest.TextTestRunner(stream=open(WORK / "unit.log", "w", encoding="utf-8"), verbosity=2).run(suite)
        if not result.wasSuccessful() or not result.testsRun:
            raise Failed((WORK / "unit.log").read_text(encoding="utf-8"))
        return f"{result.testsRun} tests"

    def validate(self):
        """sam validate, which the next does not replace."""
        run(BIN / "sam", "validate", "--template", "template.yaml")

    def validate_lint(self):
        """sam validate --lint"""
        run(BIN / "sam", "validate", "--lint", "--template", "template.yaml")

    def build(self):
        """sam build of all functions, by the Makefile"""
        shutil.rmtree(WORK / "build", ignore_errors=True)
        run(BIN / "sam", "build", "--build-in-source", "--template", "template.yaml", "--build-dir", WORK / "build")

    def bootstraps(self):
        """The programs are there, static, small, and refuse to run elsewhere."""
        sizes, found = [], []
        for function in assertions.NAMES:
            problems, size = bootstraps.problems(WORK / "build", function)
            found += problems
            sizes.append(f"{function.removesuffix('Function').lower()} {size / bootstraps.MB:.1f} MB")
        none(found)
        return ", ".join(sizes)

    def package(self):
        """sam package, into an emulated bucket"""
        s3 = self.emulator.client("s3")
        s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
        run(
            BIN / "sam", "package", "--template-file", WORK / "build/template.yaml", "--s3-bucket", "artifacts",
            "--output-template-file", WORK / "packaged.yaml", AWS_ENDPOINT_URL=self.emulator.url,
        )
        for o in s3.list_objects_v2(Bucket="artifacts")["Contents"]:
            self.artifacts[o["Key"]] = s3.get_object(Bucket="artifacts", Key=o["Key"])["Body"].read()
        return f"{len(self.artifacts)} objects, {sum(map(len, self.artifacts.values())) / 1e6:.0f} MB"

    def expand(self):
        """SAM's transform, on this machine"""
        self.expanded = expand(WORK / "packaged.yaml", REGION)
        (WORK / "expanded.json").write_text(json.dumps(self.expanded, indent=1), encoding="utf-8")
        return f"{len(self.expanded['Resources'])} resources"

    def expand_alone(self):
        """SAM's transform, without a build"""
        self.expanded = expand(ROOT / "template.yaml", REGION, code="s3://artifacts/code")

    def lint(self):
        """cfn-lint on what came out, without waivers, and on infra/"""
        pieces = sorted((ROOT / "infra").glob("*.yaml"))
        if {p.name for p in pieces} != set(PIECES):
            raise Failed(f"parameters.py does not know {sorted({p.name for p in pieces} ^ set(PIECES))}")
        run(BIN / "cfn-lint", "--ignore-bad-template", WORK / "expanded.json", *pieces)
        for path in (ROOT / "template.yaml", *pieces):
            if "cfn-lint" in path.read_text(encoding="utf-8"):
                raise Failed(f"{path.name} excuses something from cfn-lint")

    def assert_stack(self):
        """What no tool checks: see assertions.py"""
        none(f"{case.name}: {p}" for case in CASES for p in assertions.problems(Stack(self.expanded, case.parameters)))
        return f"{len(CASES)} sets of parameters"

    def assert_pieces(self):
        """The same of the pieces in infra/"""
        none(
            f"{name}, {case.name}: {p}"
            for name, cases in PIECES.items()
            for case in cases
            for p in assertions.piece_problems(Stack(plain(name), case.parameters))
        )

    def patterns(self):
        """The rules take what the detections read"""
        read = pattern.read_by_detections(ROOT / "bin/keytrail")
        none(pattern.problems(Stack(self.expanded, CASES[0].parameters), read))
        name = "second-region.yaml"
        none(pattern.problems(Stack(plain(name), PIECES[name][0].parameters), read))
        return f"{sum(map(len, read.values()))} events of {len(read)} services"

    def create(self):
        """Stacks in an emulated AWS have what they should, and nothing else"""
        made = 0
        for number, case in enumerate(CASES):
            made += self.one(self.expanded, case, f"keytrail-{number}")
        return f"{len(CASES)} stacks, {made} resources"

    def create_pieces(self):
        """The same of the pieces in infra/"""
        made = 0
        for name, cases in PIECES.items():
            for number, case in enumerate(cases):
                made += self.one(plain(name), case, f"{name.removesuffix('.yaml')}-{number}")
        return f"{made} resources"

    def one(self, template, case, name):
        self.emulator.reset()
        s3 = self.emulator.client("s3")
        for bucket in ("artifacts", *case.buckets):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key, body in self.artifacts.items():
            s3.put_object(Bucket="artifacts", Key=key, Body=body)
        for arn in case.topics:
            self.emulator.client("sns", arn.split(":")[3]).create_topic(Name=arn.split(":")[5])
        stack = Stack(template, case.parameters, stack=name)
        none(f"{case.name}: {key} should be there" for key in sorted(case.has - stack.resources.keys()))
        none(f"{case.name}: {key} should not be there" for key in sorted(case.lacks & stack.resources.keys()))
        there = create(self.emulator, template, case.parameters, name)
        none(f"{case.name}: {p}" for p in compare(self.emulator, stack, there))
        return len(there)

    def iam(self):
        """The roles allow the calls that were recorded, and no others"""
        none(iam.stale(Stack(self.expanded, CASES[1].parameters), iam.unrecorded()))
        if not self.arguments.iam:
            return "no calls were given: --iam recorded.json --names names.json"
        recorded = iam.read(self.arguments.iam)
        none(iam.problems(iam.world(self.expanded, self.arguments.names), recorded, iam.unrecorded()))
        return f"{len(recorded)} calls"


def plain(name):
    """Reads a template of infra/, which needs no transform."""
    template, problems = cfn_decode.decode(str(ROOT / "infra" / name))
    if problems:
        raise Failed(f"{name}: {problems}")
    return json.loads(json.dumps(template))


STEPS = (
    Lane.unit_tests, Lane.validate, Lane.validate_lint, Lane.build, Lane.package, Lane.expand, Lane.lint, Lane.assert_stack,
    Lane.assert_pieces, Lane.patterns, Lane.create, Lane.create_pieces, Lane.iam, Lane.bootstraps,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iam", help="file of recorded calls")
    parser.add_argument("--names", help="file with the physical names of the stack they were recorded on")
    parser.add_argument("--only-iam", action="store_true", help="only compare the roles with recorded calls")
    arguments = parser.parse_args()
    if bool(arguments.iam) != bool(arguments.names) or arguments.only_iam and not arguments.iam:
        parser.error("--iam and --names go together")
    WORK.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Emulator(WORK / "emulator.log") as emulator:
        lane = Lane(arguments, emulator)
        for step in (Lane.expand_alone, Lane.iam) if arguments.only_iam else STEPS:
            start = time.monotonic()
            print(f"-- {step.__doc__}", flush=True)
            try:
                said = step(lane)
            except Failed as e:
                print(e)
                print(f"FAILED: {step.__name__}")
                return 1
            print(f"   ok in {time.monotonic() - start:.0f} s{': ' + said if said else ''}", flush=True)
    print(f"all of it in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
