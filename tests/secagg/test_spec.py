"""``SPEC.md`` says what the code does: its tables are read and compared with it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.mutation.mutants import ROOT, Check, load, without

import wardround_common.secagg
from wardround_common.errors import SecAggError
from wardround_common.messages import PARCEL, TABLE, Body, DealParcel, Envelope, envelope
from wardround_common.plan_parts import CipherName, Name
from wardround_common.secagg import transcript
from wardround_common.secagg.masks import apply_masks
from wardround_common.secagg.refusals import REMEDIES
from wardround_common.secagg.thresholds import check_cohort, threshold

SPEC = (Path(wardround_common.secagg.__path__[0]) / "SPEC.md").read_text()
CHECKS = load()
SIDES = {"common": "wardround_common", "client": "wardround_client", "server": "wardround_server"}


def tables(section: int) -> list[list[dict[str, str]]]:
    """The tables of a section, each row by the heading of its columns."""
    text = re.search(rf"^## {section}\. .*?(?=^## |\Z)", SPEC, re.M | re.S).group()
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()
        ]
        assert all(len(row) == len(head) for row in rows), block
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def described(kind: msgspec.inspect.Type) -> str:
    """A field's type as SPEC.md writes it."""
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return f"[{described(kind.item_type)}]"
    if isinstance(kind, msgspec.inspect.BytesType):
        assert kind.min_length == kind.max_length
        return str(kind.min_length or "bytes")
    if isinstance(kind, msgspec.inspect.IntType):
        most = {2**40: "2^40", 2**31 - 1: "2^31-1"}[kind.le]
        return f"{kind.ge}..{most}"
    return {msgspec.inspect.StrType: "name", msgspec.inspect.LiteralType: "literal"}[type(kind)]


def fields_of(struct: type) -> list[tuple[str, str]]:
    return [(field.encode_name, described(field.type)) for field in msgspec.inspect.type_info(struct).fields]


# messages


def test_the_table_of_messages_is_the_codes():
    rows = tables(3)[0]
    bodies: dict[type[Body], object] = {**TABLE, DealParcel: PARCEL}
    assert len(rows) == len(bodies)
    for row, (body, limits) in zip(rows, bodies.items(), strict=True):
        name = "parcel" if body is DealParcel else limits.type
        assert (row["exchange"], row["type"]) == (str(limits.exchange), name)
        numbers = tuple(int(row[column]) for column in ("fixed", "per site", "per pair", "rounds"))
        assert numbers == (limits.fixed, limits.per_site, limits.per_pair, limits.rounds), name
        written = (
            [] if row["fields, in order"] == "-" else re.findall(r"`(\w+)` ([^,]+)", row["fields, in order"])
        )
        assert written == fields_of(body), name
        docstring = inspect.getdoc(body)
        assert row["direction"] in docstring.split(":")[0], name


def test_the_limit_is_the_written_formula():
    for limits in (*TABLE.values(), PARCEL):
        for s in (3, 10, 100, 1000):
            accepts = limits.rounds * s * (384 + 48 * s)
            expected = limits.fixed + s * (limits.per_site + s * limits.per_pair) + accepts
            assert limits.limit_bytes(s) == min(expected, 2**26)


def test_every_field_of_every_message_is_explained():
    explained = {name for row in tables(3)[1] for name in row["field"].split(", ")}
    bodies = {**{limits.type: body for body, limits in TABLE.items()}, "parcel": DealParcel}
    assert explained == {
        f"{name}.{field}" for name, body in bodies.items() for field in body.__struct_fields__
    }


def test_the_envelope_is_the_written_one():
    written = {row["field"].strip("`"): row["type"] for row in tables(4)[0]}
    assert list(written) == list(Envelope.__struct_fields__)
    assert f"`{typing.get_args(Name)[1].pattern}`" in SPEC
    for name, kind in fields_of(Envelope):
        if kind != "literal":
            assert written[name] == kind, name


def test_transcripts_and_what_covers_them_are_those_of_the_code():
    rows = {row["transcript"]: row for row in tables(6)[0]}
    covered = {name: set(row["covered by"].split(", ")) for name, row in rows.items()}
    for row in tables(3)[0]:
        if row["covers"] in rows:
            assert row["type"] in covered[row["covers"]]
    assert set().union(*covered.values()) == {limits.type for limits in TABLE.values()}
    for name in ("T0", "T1", "T2", "T3"):
        line = re.search(rf"^\| {name} \|.*\| (.*) \|$", transcript.__doc__, re.M).group(1)
        assert {word.lower() for word in line.split(", ")} <= covered[name]


# keys


SCANNED = (
    "common/wardround_common/messages", "common/wardround_common/secagg", "common/wardround_common/trust.py",
    "common/wardround_common/state.py", "common/wardround_common/identity.py",
    "common/wardround_common/aggregate.py", "client/wardround_client/secagg",
    "client/wardround_client/outputs.py", "server/wardround_server/secagg",
)  # fmt: skip


def labels_of(path: Path) -> set[tuple[str, str]]:
    """(label, digest or derive) of every such call with a literal label."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"digest": 0, "_extend": 0, "derive": 1}.get(node.func.id)
            label = node.args[place] if place is not None and len(node.args) > place else None
            if isinstance(label, ast.Constant) and isinstance(label.value, str):
                found.add((label.value, "derive" if node.func.id == "derive" else "digest"))
    return found


def test_every_label_of_a_key_or_digest_is_written_and_no_other():
    found = {}
    for name in SCANNED:
        path = ROOT / name
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            side, *rest = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join((side, *rest[1:]))
            found |= {(label, kind, module): None for label, kind in labels_of(file)}
    written = {(row["label"].strip("`"), row["kind"], row["made in"]) for row in tables(7)[0]}
    assert written == set(found)


@pytest.mark.parametrize("row", tables(17)[0], ids=lambda row: row["constant"])
def test_constants_have_the_written_values(row):
    side, *rest = row["where"].split(".")
    module = importlib.import_module(".".join((SIDES[side], *rest)))
    assert str(getattr(module, row["constant"])) == row["value"]


def test_suites_are_those_that_masks_are_made_with():
    assert {row["suite"].strip("`") for row in tables(10)[0]} == set(typing.get_args(CipherName))
    assert inspect.signature(apply_masks).parameters["cipher"].default == tables(10)[0][0]["suite"].strip("`")


def test_numbers_that_every_site_checks_are_checked():
    codes = set(re.findall(r"`(secagg\.\w+)`", str(tables(11)[0])))
    assert codes <= {check.code for check in CHECKS}
    for n in range(3, 60):
        assert threshold(n) == 2 * n // 3 + 1
        for c in range(n):
            fits = n - c >= 2 and 2 * threshold(n) > n + c
            try:
                assert check_cohort(n, minimum=3, max_colluders=c) == threshold(n)
            except SecAggError:
                assert not fits
            else:
                assert fits


# checks


def test_the_table_of_checks_is_the_list_that_is_mutated():
    rows = [(row["id"].strip("`"), row["where"], row["test"]) for row in tables(15)[0]]
    assert rows == [(check.code, check.where, check.test) for check in CHECKS]
    assert len({(code, where) for code, where, _ in rows}) == len(rows)


def test_every_code_of_the_protocol_has_a_check_and_every_check_a_code():
    codes = {check.code for check in CHECKS}
    known = {f"secagg.{what}" for what in REMEDIES} | {f"message.{what}" for what in envelope._REMEDIES}
    assert known <= codes, sorted(known - codes)
    folders = [Path(importlib.import_module(package).__path__[0]) for package in SIDES.values()]
    text = "".join(file.read_text() for folder in folders for file in folder.rglob("*.py"))
    for code in codes - known:
        assert code.startswith("rule.") or f'"{code}"' in text, code


PROTOCOL = (
    "common/wardround_common/messages", "common/wardround_common/secagg", "client/wardround_client/secagg",
    "client/wardround_client/study.py", "server/wardround_server/secagg", "server/wardround_server/study.py",
    "server/wardround_server/rounds.py", "server/wardround_server/course.py",
)  # fmt: skip


def refusals_in(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, str]]:
    """(function, code) of every ``raise refuse("code", ...)``."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            family = {"refuse": "secagg", "_refuse": "message"}.get(ast.unparse(node.exc.func))
            what = node.exc.args[0] if family else None
            if isinstance(what, ast.Constant):
                yield inside, f"{family}.{what.value}"
        yield from refusals_in(node, f"{inside}.{node.name}".strip(".") if named else inside)


def test_every_refusal_of_the_protocol_has_its_row():
    listed = Counter((check.where.partition("#")[0], check.code) for check in CHECKS)
    for name in PROTOCOL:
        for file in sorted((ROOT / name).rglob("*.py")) or [ROOT / name]:
            side, *rest = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join((side, *rest[1:]))
            tree = ast.parse(file.read_text())
            for (function, code), count in Counter(refusals_in(tree)).items():
                assert listed[f"{module}:{function}", code] >= count, (module, function, code)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.code} in {check.where}")
def test_every_check_can_be_taken_out(check: Check):
    source = (ROOT / check.path).read_text()
    changed = without(check, source)
    assert changed != source
    compile(changed, str(check.path), "exec")


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists():
    lies = set().union(*(functions_of(path) for path in (ROOT / "tests" / "support").glob("lies_about_*.py")))
    for path, name in sorted({tuple(check.test.split("::")) for check in CHECKS}):
        function, _, case = name.rstrip("]").partition("[")
        functions = functions_of(ROOT / path)
        assert function in functions, (path, name)
        assert not case or case in functions | lies, (path, name)


def test_every_check_says_who_makes_it_and_what_it_prevents():
    for row in tables(15)[0]:
        assert row["who"] in ("site", "coordinator", "both")
        assert len(row["prevents"]) > 5


# state machines


def test_the_states_are_those_of_the_code():
    from wardround_client.secagg import session as site
    from wardround_server.secagg import session as coordinator

    for rows, phases, more in (
        (tables(13)[0], site._Phase, {"any"}),
        (tables(14)[0], coordinator._Phase, set()),
    ):
        names = {name for row in rows for name in re.findall(r"[A-Za-z]+", row["state"].replace("..", " "))}
        assert names - more <= {phase.name for phase in phases}


def test_the_record_of_a_site_has_the_written_tables():
    from wardround_client.secagg.tables import _TABLES

    written = {row["newest on record"] for row in tables(13)[1]}
    assert written <= set(_TABLES)
