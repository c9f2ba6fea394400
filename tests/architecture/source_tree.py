"""The package's source, read but not run: its modules, and what each imports."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"


@cache
def modules():
    """Every module of the package: dotted name -> parsed source."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"), filename=str(path))
    return found


def path_of(module):
    """Where a module's source lies, relative to the repository."""
    base = SRC.joinpath(*module.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return path.relative_to(ROOT)


def imported(module, tree, known):
    """The package's own modules that the statements under `tree` import, out of `known`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_longest(alias.name, known) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            yield from (_longest(f"{source}.{alias.name}", known) for alias in node.names)


def own_imports(module, tree, known):
    """`imported`, less what comes from outside the package."""
    return {name for name in imported(module, tree, known) if name}


def _absolute(module, node):
    """The module that a `from ... import` names, dots resolved."""
    if not node.level:
        return node.module
    is_package = path_of(module).name == "__init__.py"
    parent = module.split(".")[: len(module.split(".")) - node.level + is_package]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _longest(name, known):
    """The longest prefix of a dotted name that is a known module, or none."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def at_import_time(tree):
    """The same module without the bodies of its functions: what runs when it is imported."""
    return ast.fix_missing_locations(_WithoutFunctions().visit(ast.parse(ast.unparse(tree))))


class _WithoutFunctions(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        return ast.Pass()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node):
        typing_only = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        return ast.Pass() if typing_only else self.generic_visit(node)
