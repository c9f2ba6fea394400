"""The pages are true: their code runs, their recipes are recipes, and nothing is left out."""

import contextlib
import io
import re
import shlex
import tomllib

import pytest
from source_tree import ROOT, modules

from sfumato import recipes
from sfumato.cli.app import app

PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)

# Pages whose every block of Python runs, in order, without a trained model at hand.
RUNNABLE = ("docs/algebra.md",)


def blocks(page, language):
    """The code on a page: (line before it, text)."""
    text = (ROOT / page).read_text("utf-8")
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [(text[: m.start(1)].count("\n"), m[1]) for m in fence.finditer(text)]


@pytest.mark.parametrize("page", RUNNABLE)
def test_the_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for above, block in blocks(page, "python"):
        code = compile("\n" * above + block, ROOT / page, "exec")  # so that errors name the line
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, names)
    assert names, f"no code on {page}"


def commands():
    """Every call of the command line on the pages, without comments and pipes."""
    for page in PAGES:
        for _, block in blocks(page, "sh"):
            lines = (shlex.split(line, comments=True) for line in block.splitlines())
            yield from (words for words in lines if words[:1] == ["sfumato"])


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_the_commands_are_understood(words):
    words = words[1 : words.index(">") if ">" in words else None]
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_recipes_are_recipes():
    found = [recipes.parse(tomllib.loads(b)) for _, b in blocks("docs/recipes.md", "toml")]
    assert found


def test_every_recipe_is_on_its_page():
    listed = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/recipes.md").read_text("utf-8"), re.M)
    assert set(recipes.names()) <= set(listed)


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    named = [re.match(r"[\w-]+", d)[0] for d in project["dependencies"]]
    named += project["optional-dependencies"]
    assert not [name for name in named if f"| `{name}` |" not in page]


def test_every_part_has_its_page():
    parts = {name.split(".")[1] for name in modules() if "." in name} - {"__main__", "cli"}
    pages = "".join(p.read_text("utf-8") for p in (ROOT / "docs/reference").glob("*.md"))
    assert not [part for part in parts if f"::: sfumato.{part}" not in pages]
