"""Programs that Lambda could not run are found."""

import tempfile
import unittest
from pathlib import Path

import bootstraps

STATIC = "Machine: Advanced Micro Devices X86-64\nProgram Headers:\n  LOAD\nThere is no dynamic section in this file.\n"


class Linkage(unittest.TestCase):
    def test_a_static_program_is_in_order(self):
        self.assertEqual([], list(bootstraps.linkage(STATIC)))

    def test_what_loads_something_is_found(self):
        for text, words in (
            (STATIC.replace("X86-64", "AArch64"), "it is not for x86-64"),
            (STATIC + " 0x0001 (NEEDED) Shared library: [libstdc++.so.6]\n", "it needs shared libraries"),
            (STATIC + "  INTERP 0x0002a8\n", "it asks for a dynamic loader"),
        ):
            self.assertIn(words, list(bootstraps.linkage(text)))

    def test_a_program_of_this_machine_is_dynamic(self):
        self.assertIn("it needs shared libraries", list(bootstraps.linkage(bootstraps.readelf("/bin/ls"))))


class Programs(unittest.TestCase):
    def program(self, text, mode=0o755):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "F").mkdir()
        path = folder / "F" / "bootstrap"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return folder

    def test_what_is_missing_or_cannot_run_is_no_program(self):
        folder = self.program("", 0o644)
        self.assertIn("is no program", bootstraps.problems(folder, "F")[0][0])
        self.assertIn("is no program", bootstraps.problems(folder, "G")[0][0])

    def test_outside_of_lambda_it_must_refuse_and_say_why(self):
        quiet = self.program("#!/bin/sh\nexit 1\n") / "F" / "bootstrap"
        self.assertIn("does not name AWS_LAMBDA_RUNTIME_API", list(bootstraps.refusal(quiet))[0])
        content = self.program("#!/bin/sh\necho AWS_LAMBDA_RUNTIME_API\n") / "F" / "bootstrap"
        self.assertEqual(["outside of Lambda it ends with status 0"], list(bootstraps.refusal(content)))
        right = self.program("#!/bin/sh\necho AWS_LAMBDA_RUNTIME_API is not set >&2; exit 1\n") / "F" / "bootstrap"
        self.assertEqual([], list(bootstraps.refusal(right)))


if __name__ == "__main__":
    unittest.main()
