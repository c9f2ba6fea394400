"""What can be read in one sitting, and what must never be written."""

import ast
import re
import subprocess

import pytest
from source_tree import ROOT, modules, path_of

MOST_LINES_IN_A_FILE = 300
MOST_LINES_IN_A_FUNCTION = 40

# Each with its reason; an empty table is best.
LONG_FUNCTIONS = {}

# Formats that can run code when they are read.
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "torch.load"}

# Places of one machine, which mean nothing on another; spelt so as not to be found here.
PRIVATE = re.compile(r"(?<![\w.])/(?:wor[k]/|far[m]\b|roo[t]\b)|\.\./share[d]\b")

each_module = pytest.mark.parametrize("module", sorted(modules()))


def functions(tree):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(function):
    """Lines from `def` to the end, less the docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


@each_module
def test_files_are_short(module):
    lines = (ROOT / path_of(module)).read_text("utf-8").count("\n")
    assert lines <= MOST_LINES_IN_A_FILE, f"{path_of(module)} has {lines} lines: split it"


@each_module
def test_functions_are_short(module):
    long = {
        f"{module}.{function.name}": length(function)
        for function in functions(modules()[module])
        if length(function) > MOST_LINES_IN_A_FUNCTION
    }
    assert not {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS}


@each_module
def test_modules_say_what_they_are_about(module):
    assert ast.get_docstring(modules()[module]), f"{path_of(module)} needs a docstring"


def classes(module):
    """The classes a module defines, by name."""
    return {node.name: node for node in modules()[module].body if isinstance(node, ast.ClassDef)}


def seen_classes(module):
    """The package's classes that a module can name: its own, and those it imports."""
    seen = classes(module)
    for node in modules()[module].body:
        if isinstance(node, ast.ImportFrom) and node.module in modules():
            there = classes(node.module)
            seen |= {a.asname or a.name: there[a.name] for a in node.names if a.name in there}
    return seen


def is_abstract(node):
    """Whether a class says so: abstract, a protocol, or a record that shares its settings."""
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    return bool(bases & {"ABC", "Protocol", "BaseModel"})


@pytest.mark.parametrize("module", sorted(set(modules()) - {"sfumato.errors"}))
def test_classes_are_abstract_or_final(module):
    """Nothing concrete is extended: what it does is wrapped instead. Errors are a family tree."""
    seen = seen_classes(module)
    bases = [(n, ast.unparse(b)) for n, node in classes(module).items() for b in node.bases]
    assert not [f"{n} extends {b}" for n, b in bases if b in seen and not is_abstract(seen[b])]


def unsafe(node):
    """The name of something that could run what a file says, or none."""
    match node:
        case ast.Import(names=names):
            return next((a.name for a in names if a.name.split(".")[0] in UNSAFE_MODULES), None)
        case ast.ImportFrom(module=str(name)) if name.split(".")[0] in UNSAFE_MODULES:
            return name
        case ast.Name() | ast.Attribute() if ast.unparse(node) in UNSAFE_CALLS:
            return ast.unparse(node)
        case ast.keyword(arg="allow_pickle", value=value) if ast.unparse(value) != "False":
            return "allow_pickle"
    return None


@each_module
def test_no_file_can_run_code(module):
    assert not [name for node in ast.walk(modules()[module]) if (name := unsafe(node))]


UNSAFE_LINES = """\
import pickle
from dill import loads
torch.load(f)
eval('1')
run = exec
np.load(f, allow_pickle=True)"""


@pytest.mark.parametrize("source", UNSAFE_LINES.splitlines())
def test_unsafe_is_recognised(source):
    assert any(unsafe(node) for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("source", ["network.eval()", "np.load(f, allow_pickle=False)"])
def test_safe_is_not_mistaken(source):
    assert not any(unsafe(node) for node in ast.walk(ast.parse(source)))


def repository_files():
    """Every file that git tracks, or would if it were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_no_private_paths():
    found = []
    for path in repository_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), 1)
        found += [f"{path.relative_to(ROOT)}:{i}" for i, line in lines if PRIVATE.search(line)]
    assert not found
