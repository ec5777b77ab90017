"""Looks at the programs that `sam build` made, as Lambda will get them."""

import os
import subprocess

RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"

# In MB of 2^20 bytes, as Lambda counts. It takes 250 MB unpacked; these are bounds
# of what a cold start has to load. DuckDB is most of the first.
MB = 1 << 20
LIMITS = {"AnalyzeFunction": 100 * MB}
LIMIT = 15 * MB


def problems(folder, function):
    """Says what is wrong with a function's program, and returns its size."""
    path = folder / function / "bootstrap"
    if not path.is_file() or not os.access(path, os.X_OK):
        return [f"{function}: {path} is no program"], 0
    found = []
    size, limit = path.stat().st_size, LIMITS.get(function, LIMIT)
    if size > limit:
        found.append(f"{function}: the program has {size / MB:.1f} MB, more than {limit // MB}")
    found += [f"{function}: {p}" for p in linkage(readelf(path))]
    found += [f"{function}: {p}" for p in refusal(path)]
    if extra := [p.name for p in (folder / function).iterdir() if p.name != "bootstrap"]:
        found.append(f"{function}: files beside the program: {sorted(extra)}")
    return found, size


def readelf(path):
    run = subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", path], capture_output=True, text=True, check=True)
    return run.stdout


def linkage(text):
    """Says what of readelf's output shows that Lambda cannot run a program.

    Lambda's Amazon Linux 2023 has an older C++ library than DuckDB needs, so
    nothing may be loaded at the start.
    """
    if "Advanced Micro Devices X86-64" not in text:
        yield "it is not for x86-64"
    if "(NEEDED)" in text:
        yield "it needs shared libraries"
    if "INTERP" in text:
        yield "it asks for a dynamic loader"


def refusal(path):
    """Says what is wrong with how a program ends outside of Lambda."""
    run = subprocess.run([path], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, timeout=20, check=False)
    if run.returncode == 0:
        yield "outside of Lambda it ends with status 0"
    if RUNTIME_API not in run.stdout + run.stderr:
        yield f"outside of Lambda it does not name {RUNTIME_API}: {(run.stdout + run.stderr)[:200]!r}"
