"""Slips of the pen in formulas that see two times: finding every one that could be made.

Kinds:

    index   a name for its twin, where both can be seen: `sigma_t` for `sigma_s`, `t` for `s`
    order   `f(t, s)` for `f(s, t)`, and `l_t - l_s` for `l_s - l_t`
    eta     the noise scale is forgotten: 1 in its place
    sign    a minus is lost
"""

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

# Names that are each other's twin, beside every `..._t` and `..._s`.
TWINS = (
    ("t", "s"),
    ("state.t", "s"),
    ("t", "u"),
    ("start", "end"),
    ("late", "early"),
    ("left", "right"),
    ("low", "high"),
    ("source", "goal"),
    ("theirs", "ours"),
    ("first", "last"),
    ("alpha", "sigma"),
    ("alpha_t", "sigma_t"),
    ("alpha_s", "sigma_s"),
    ("d_alpha", "d_sigma"),
)

Slip = tuple[ast.expr, ast.expr, str]  # from the start of one node to the end of another: new text


class Mutant(NamedTuple):
    """One slip: bytes `[start, stop)` of a line become `new`."""

    file: str
    kind: str
    line: int
    start: int
    stop: int
    new: str

    def apply(self, source: str) -> str:
        """The source with the slip made."""
        lines = source.encode().splitlines(keepends=True)
        line = lines[self.line - 1]
        lines[self.line - 1] = line[: self.start] + self.new.encode() + line[self.stop :]
        return b"".join(lines).decode()

    def name(self, source: str) -> str:
        """The file and the line as it has become, by which a list can name this mutant."""
        return f"{self.file}: {self.apply(source).splitlines()[self.line - 1].strip()}"

    def diff(self, source: str) -> str:
        """Where it is, and the line before and after."""
        before, after = source.splitlines(), self.apply(source).splitlines()
        changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]
        return "\n".join([f"{self.file}:{self.line} ({self.kind})", *changed])


@dataclass
class Scope:
    """What a function can name: each name with the line that binds it, each attribute it reads."""

    bound: dict[str, int] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def inside(self, function: ast.AST) -> "Scope":
        """This scope with the function's own names added."""
        inner = Scope(dict(self.bound), set(self.read))
        for node in own_nodes(function):
            match node:
                case ast.arg(arg=name):
                    inner.bound[name] = 0
                case ast.Name(id=name, ctx=ast.Store()):
                    inner.bound.setdefault(name, node.lineno)
                case ast.Attribute():
                    inner.read.add(ast.unparse(node))
        return inner

    def sees(self, text: str, line: int) -> bool:
        """Whether a line could name this instead, without an error that anything would notice."""
        root, _, attribute = text.partition(".")
        return self.bound.get(root, line) < line and (not attribute or text in self.read)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Every node of a function, less those of the functions within it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, FUNCTIONS):
            yield from own_nodes(child)


def within_functions(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """Every node inside a function, with what can be named there."""
    if isinstance(node, FUNCTIONS):
        scope = scope.inside(node)
    if scope.bound:
        yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from within_functions(child, scope)


def twins(text: str) -> list[str]:
    """The names that could be written for this one by a slip."""
    found = [b if text == a else a for a, b in TWINS if text in (a, b)]
    if text.endswith(("_t", "_s")):
        found.append(text[:-1] + {"t": "s", "s": "t"}[text[-1]])
    return found


def are_twins(a: ast.AST, b: ast.AST) -> bool:
    """Whether two expressions would be the same but for one name and its twin."""
    one, other = ast.unparse(a), ast.unparse(b)
    names = {ast.unparse(node) for node in ast.walk(a) if is_read(node)}
    return any(replaced(one, name, twin) == other for name in names for twin in twins(name))


def replaced(text: str, name: str, other: str) -> str:
    """The text with one name written for another, wherever it stands as a whole."""
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", other, text)


def is_read(node: ast.AST) -> bool:
    """Whether this is a name, or an attribute, whose value is used."""
    return isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)


def index_slips(node: ast.AST, scope: Scope) -> Iterator[Slip]:
    """A name read for its twin."""
    if is_read(node):
        seen = [twin for twin in twins(ast.unparse(node)) if scope.sees(twin, node.lineno)]
        yield from ((node, node, twin) for twin in seen)


def order_slips(node: ast.AST, scope: Scope) -> Iterator[Slip]:
    """Twins side by side, exchanged."""
    match node:
        case ast.Call(args=args):
            beside = [(a, b) for a, b in pairwise(args) if are_twins(a, b)]
            yield from ((a, b, exchanged(a, b, ", ")) for a, b in beside)
        case ast.BinOp(left=a, op=ast.Sub(), right=b) if are_twins(a, b):
            yield node, node, exchanged(a, b, " - ")


def exchanged(a: ast.AST, b: ast.AST, between: str) -> str:
    """The two, the second first."""
    return f"{ast.unparse(b)}{between}{ast.unparse(a)}"


def eta_slips(node: ast.AST, scope: Scope) -> Iterator[Slip]:
    """The noise scale forgotten."""
    if is_read(node) and ast.unparse(node).split(".")[-1] == "eta":
        yield node, node, "1.0"


def sign_slips(node: ast.AST, scope: Scope) -> Iterator[Slip]:
    """A minus lost; those of plain numbers stay, for many are axes."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield node, node, f"({ast.unparse(operand)})"


KINDS: dict[str, Callable[[ast.AST, Scope], Iterator[Slip]]] = {
    "index": index_slips,
    "order": order_slips,
    "eta": eta_slips,
    "sign": sign_slips,
}


def mutants(file: str, source: str, kinds: Sequence[str] = tuple(KINDS)) -> list[Mutant]:
    """Every slip of these kinds in one file, in the order of its lines.

    Args:
        file: how reports call the file.
        source: its text.
        kinds: keys of `KINDS`.
    """
    found = {
        Mutant(file, kind, first.lineno, first.col_offset, last.end_col_offset or 0, new)
        for node, scope in within_functions(ast.parse(source), Scope())
        for kind in kinds
        for first, last, new in KINDS[kind](node, scope)
        if first.lineno == last.end_lineno
    }
    return sorted(found, key=lambda mutant: (mutant.line, mutant.start, mutant.new))
