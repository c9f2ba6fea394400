"""What is slow to import is imported only when it is used."""

import json
import subprocess
import sys

import pytest

HEAVY = {"datasets", "diffusers", "matplotlib", "pandas", "scipy", "sklearn", "torchvision"}

# Runs a statement in a fresh interpreter, then prints every module that was loaded.
PROBE = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    {statement}
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def loaded_by(statement, *arguments):
    command = [sys.executable, "-c", PROBE.format(statement=statement), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_probe_sees_torch():
    assert "torch" in loaded_by("import torch")


def test_importing_the_package_loads_no_torch():
    assert not loaded_by("import sfumato") & (HEAVY | {"torch"})


def test_using_every_public_name_loads_nothing_optional():
    assert not loaded_by("import sfumato; [getattr(sfumato, n) for n in dir(sfumato)]") & HEAVY


@pytest.mark.parametrize("verb", [[], ["train"], ["sample"]])
def test_help_loads_no_torch(verb):
    loaded = loaded_by("from sfumato.cli import main; main()", *verb, "--help")
    assert not loaded & (HEAVY | {"torch"})
