"""The committed list of checks, and the source without one of them.

``checks.toml`` names, for every check of the protocol, its error code, where it is made, how it is taken out,
and the one test that must then fail. Source is found by its syntax tree, never by line numbers, and edited at
that one place.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIST = HERE / "checks.toml"
SOURCES = ("common", "client", "server", "simulations")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        code: Its error code; ``rule.*`` where what is taken out does not refuse but keep to a rule.
        where: ``package.module:function``, and ``#n`` for the n-th such refusal in that function.
        test: Node id of the test that fails without it.
        raises: What is called after ``raise`` where that is not ``refuse("code", ...)``.
        call: The call whose statement is taken out, in place of a condition.
        old: Text that is replaced by ``new``, in place of a condition; once in the function.
        new: See ``old``.
    """

    code: str
    where: str
    test: str
    raises: str = ""
    call: str = ""
    old: str = ""
    new: str = ""

    @property
    def path(self) -> Path:
        """The file, from the root of the repository."""
        side, *rest = self.where.partition(":")[0].split(".")
        return Path(side, f"wardround_{side}", *rest).with_suffix(".py")

    @property
    def function(self) -> str:
        """Its qualified name."""
        return self.where.partition(":")[2].partition("#")[0]

    @property
    def number(self) -> int:
        """Which of the refusals of this code in the function, from 0."""
        return int(self.where.partition("#")[2] or 1) - 1


def load() -> tuple[Check, ...]:
    """The list."""
    return tuple(Check(**entry) for entry in tomllib.loads(LIST.read_text())["check"])


def without(check: Check, source: str) -> str:
    """``source`` without the check.

    Raises:
        LookupError: It is not there, or not once.
    """
    data = source.encode()
    function = _function(ast.parse(source), check.function)
    if check.old:
        return _replaced_text(check, data, function)
    if check.call:
        node: ast.AST = _only(check, _calls(function, check.call))
        new = b"pass"
    else:
        guards = list(_guards(function, check))
        if check.number >= len(guards) or (len(guards) > 1 and "#" not in check.where):
            raise LookupError(f"{check.where}: {len(guards)} refusals with {check.code}")
        node, new = guards[check.number].test, b"False"
    start, end = _span(data, node)
    return (data[:start] + new + data[end:]).decode()


def _function(tree: ast.AST, name: str) -> ast.AST:
    for part in name.split("."):
        found = [
            node
            for node in ast.iter_child_nodes(tree)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part
        ]
        if len(found) != 1:
            raise LookupError(f"{name}: found {len(found)} times")
        tree = found[0]
    return tree


def _guards(function: ast.AST, check: Check) -> Iterator[ast.If]:
    """Conditions of which the refusal is the consequence, in order."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(
            isinstance(statement, ast.Raise) and _refuses(statement, check) for statement in node.body
        ):
            yield node


def _refuses(statement: ast.Raise, check: Check) -> bool:
    call = statement.exc
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return False
    if check.raises:
        return call.func.id == check.raises
    family, what = check.code.split(".")
    if {"refuse": "secagg", "_refuse": "message"}.get(call.func.id) == family:
        return isinstance(call.args[0], ast.Constant) and call.args[0].value == what
    return any(
        keyword.arg == "code"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value == check.code
        for keyword in call.keywords
    )


def _calls(function: ast.AST, name: str) -> list[ast.Expr]:
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == name
    ]


def _only(check: Check, found: list[ast.Expr]) -> ast.Expr:
    if len(found) != 1:
        raise LookupError(f"{check.where}: {check.call} is called {len(found)} times")
    return found[0]


def _replaced_text(check: Check, data: bytes, function: ast.AST) -> str:
    start, end = _span(data, function)
    body, old = data[start:end], check.old.encode()
    if body.count(old) != 1:
        raise LookupError(f"{check.where}: {check.old!r} stands there {body.count(old)} times")
    return (data[:start] + body.replace(old, check.new.encode()) + data[end:]).decode()


def _span(data: bytes, node: ast.AST) -> tuple[int, int]:
    """Where a node begins and ends, in bytes."""
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return (
        starts[node.lineno - 1] + node.col_offset,
        starts[node.end_lineno - 1] + node.end_col_offset,
    )
