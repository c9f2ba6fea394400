"""The public names: written once, all there, all explained."""

import ast

import pytest
from source_tree import SRC

import sfumato

STUB = ast.parse((SRC / "sfumato" / "__init__.pyi").read_text("utf-8"))
NAMES = sorted(
    alias.asname or alias.name
    for node in STUB.body
    if isinstance(node, ast.ImportFrom) and node.level
    for alias in node.names
)


def test_the_stub_lists_what_it_imports():
    listed = next(node.value for node in STUB.body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(listed)) == NAMES


def test_the_package_offers_what_the_stub_says():
    assert sorted(sfumato.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_there_and_explained(name):
    assert (getattr(sfumato, name).__doc__ or "").strip(), f"sfumato.{name} needs a docstring"
