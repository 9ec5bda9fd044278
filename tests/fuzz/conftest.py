"""What is fuzzed: for each decoder broken input, and the call that must refuse it in our own words."""

from __future__ import annotations

import datetime
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from federations import make_plan
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import strategies as st
from mutations import ODD, mutated, sample

from wardround_client.app import _to_packet as site_to_packet
from wardround_client.secagg import read_start
from wardround_common.canonical import decode, encode, read_toml
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey
from wardround_common.messages import (
    PARCEL,
    TABLE,
    Accept,
    Confirm,
    DealParcel,
    Envelope,
    Packet,
    RoundContext,
    Signer,
    Start,
    Wire,
    peek,
    peek_request,
)
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain
from wardround_common.state import packed_size, unpack
from wardround_common.trust import (
    SIGNED_LIMIT_BYTES,
    Member,
    Roster,
    Signed,
    open_plan,
    open_roster,
    sign_plan,
    sign_roster,
)
from wardround_server.app import _to_packet as coordinator_to_packet

N = 3
TODAY = datetime.date(2026, 1, 2)
TRANSCRIPT = b"t" * 32
KEY = SigningKey.from_seed(b"f" * 32)
OTHERS = {name: SigningKey.from_seed(name.encode() * 32) for name in "bcs"}
ROSTER = Roster(
    version=1,
    issued="2026-01-01",
    expires="2026-01-31",
    sites=(
        Member("alder", KEY.public),
        Member("birch", OTHERS["b"].public),
        Member("cedar", OTHERS["c"].public),
    ),
    lead=KEY.public,
    coordinator=OTHERS["s"].public,
)
PLAN = msgspec.structs.replace(make_plan(N), lead_key=KEY.public.hex())
WIRE = Wire(
    RoundContext(plan_digest=b"p" * 32, round=1, kind="train", attempt=1),
    ROSTER,
    frozenset(("alder", "birch", "cedar")),
)
BODIES = {kind: encode(sample(kind)) for kind in TABLE}
ENVELOPES = {
    kind: WIRE.seal(sample(kind), transcript=TRANSCRIPT, signer=Signer("alder", KEY)) for kind in TABLE
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One decoder.

    Attributes:
        broken: Broken input.
        receive: Gives it to the decoder; may return or raise a ``WardroundError``.
    """

    broken: st.SearchStrategy[Any]
    receive: Callable[[Any], object]


def decoder(kind: type, limit_bytes: int) -> Callable[[bytes], object]:
    def receive(data: bytes) -> object:
        value = decode(data, kind, limit_bytes=limit_bytes)
        assert encode(value) == data
        assert len(data) <= limit_bytes
        return value

    return receive


def signed_body(body: bytes, kind: type) -> bytes:
    """An envelope by a site that signs whatever it likes."""
    envelope = decode(ENVELOPES[kind], Envelope, limit_bytes=1 << 20)
    envelope = msgspec.structs.replace(envelope, body=body)
    return encode(msgspec.structs.replace(envelope, signature=KEY.sign("envelope", envelope.signed_bytes)))


def signed(body: bytes, label: str) -> bytes:
    return encode(Signed(body, KEY.sign(label, body)))


def opened_wire(kind: type) -> Callable[[bytes], object]:
    return lambda data: WIRE.open(data, kind, transcript=TRANSCRIPT)


def roster_of(data: bytes) -> Roster:
    return open_roster(data, authority_key=KEY.public, today=TODAY)


def messages() -> dict[str, Target]:
    everything = list(ENVELOPES.values())
    found = {
        "peek": Target(broken=mutated(everything), receive=lambda data: peek(data, Confirm, sites=N)),
        "peek_request": Target(broken=mutated(everything), receive=lambda data: peek_request(data, sites=N)),
        "open_past": Target(broken=mutated(everything), receive=lambda data: WIRE.open_past(data, Accept)),
        "open_abort": Target(broken=mutated(everything), receive=WIRE.open_abort),
        "unpack": Target(
            broken=st.binary(max_size=4 * packed_size(PLAN) + 8),
            receive=lambda data: unpack(PLAN, np.frombuffer(data[: len(data) // 4 * 4], "<u4")),
        ),
        "open_all": Target(
            broken=st.lists(mutated([ENVELOPES[Confirm]]), max_size=4),
            receive=lambda items: WIRE.open_all(items, Confirm, transcript=TRANSCRIPT),
        ),
        "read_start": Target(
            broken=mutated([ENVELOPES[Start]])
            | mutated([BODIES[Start]]).map(lambda b: signed_body(b, Start)),
            receive=lambda data: read_start(Packet(data), sites=N),
        ),
        "parcel": Target(
            broken=mutated([encode(sample(DealParcel)), *everything]),
            receive=decoder(DealParcel, PARCEL.limit_bytes(N)),
        ),
    }
    for kind, row in TABLE.items():
        limit = row.limit_bytes(N)
        found[f"body-{row.type}"] = Target(broken=mutated([BODIES[kind]]), receive=decoder(kind, limit))
        found[f"wire-{row.type}"] = Target(broken=mutated([ENVELOPES[kind]]), receive=opened_wire(kind))
        found[f"signed-{row.type}"] = Target(
            broken=mutated([BODIES[kind]]).map(lambda body, kind=kind: signed_body(body, kind)),
            receive=opened_wire(kind),
        )
    return found


def trust() -> dict[str, Target]:
    roster, plan = sign_roster(ROSTER, KEY), sign_plan(PLAN, KEY)
    return {
        "roster": Target(broken=mutated([roster, plan]), receive=roster_of),
        "roster-signed": Target(
            broken=mutated([encode(ROSTER)]).map(lambda body: signed(body, "roster")), receive=roster_of
        ),
        "plan": Target(broken=mutated([plan, roster]), receive=lambda data: open_plan(data, today=TODAY)),
        "plan-signed": Target(
            broken=mutated([encode(PLAN)]).map(lambda body: signed(body, "plan")),
            receive=lambda data: open_plan(data, today=TODAY),
        ),
        "plan-canonical": Target(
            broken=mutated([encode(PLAN)]), receive=decoder(StudyPlan, SIGNED_LIMIT_BYTES)
        ),
    }


VALUES = (
    "nan", "inf", "-inf", "-0.0", "1e308", "5e-324", "1e999", "0", "-1", "9" * 400, "9" * 5000,
    "0x" + "f" * 5000, "true", '""', '"\\u0000"', '"\\n"', '"alder\\n"', "'''", '"' + "a" * 3000 + '"',
    "[]", "{}", "[[]]",
    "[" * 2000, "{a=" * 2000, "2026-01-01", "2026-13-41", "1979-05-27T07:32:00Z", "[1, 'a', {b = 1}]",
)  # fmt: skip
"""What a person may write by mistake, and what nobody writes by mistake."""


def toml(tables: dict[str, Any], path: str = "") -> str:
    """Tables of strings, numbers, lists and tables as TOML."""
    plain = [f"{key} = {_value(v)}" for key, v in tables.items() if v is not None and not isinstance(v, dict)]
    parts = [f"[{path}{key}]\n{toml(v, f'{path}{key}.')}" for key, v in tables.items() if isinstance(v, dict)]
    return "\n".join([*plain, *parts])


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    return msgspec.json.encode(value).decode()


PLAN_TOML = toml(msgspec.json.decode(msgspec.json.encode(PLAN)))
assert plan_from_tables(tomllib.loads(PLAN_TOML)) == PLAN


@st.composite
def plan_files(draw: st.DrawFn) -> bytes:
    """A plan with lines lost, doubled, moved or filled with something else, or with bytes changed."""
    lines = PLAN_TOML.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                lines[place : place + 1] = []
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[place])
            case 2:
                lines.insert(place, draw(st.text(max_size=30)) + " = " + draw(st.sampled_from(VALUES)))
            case _:
                lines[place] = lines[place].split("=")[0] + "= " + draw(st.sampled_from(VALUES))
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=9)) + data[place + draw(st.integers(0, 9)) :]
    return data


def read_plan(data: bytes) -> str:
    """As ``wardround-site explain`` does."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        return explain(plan_from_tables(read_toml(Path(file.name))))


_scalars = st.one_of(
    st.binary(max_size=9), st.sampled_from(ODD[:9]), st.text(max_size=9), st.integers(-(2**63), 2**63 - 1),
    st.floats(), st.booleans(), st.lists(st.binary(max_size=3), max_size=3),
    st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
_keys = st.sampled_from(("envelope", "ring", "packet", "arrays", "", "x"))
_arrays = st.builds(
    Array,
    dtype=st.sampled_from(("uint32", "uint32", "<u4", "float32", "int64", "object", "")),
    shape=st.lists(st.sampled_from((0, 1, 2, 3, -1, 2**40)), max_size=3).map(tuple),
    stype=st.sampled_from(("raw", "numpy.ndarray", "")),
    data=st.sampled_from((0, 1, 3, 4, 8, 12, 16)).map(bytes) | st.binary(max_size=20),
)
_records = st.one_of(
    st.dictionaries(_keys, _scalars, max_size=2).map(ConfigRecord),
    st.dictionaries(_keys, _arrays, max_size=2).map(ArrayRecord),
    st.dictionaries(_keys, st.integers(0, 9) | st.floats(), max_size=2).map(MetricRecord),
)
_honest = st.just(ConfigRecord({"envelope": b"e"}))
records = st.one_of(
    st.dictionaries(_keys, _records, max_size=3),
    st.fixed_dictionaries({"packet": _honest}, optional={"arrays": _records, "x": _records}),
    st.fixed_dictionaries(
        {"packet": _honest, "arrays": st.dictionaries(st.just("ring"), _arrays, min_size=1).map(ArrayRecord)}
    ),
).map(RecordDict)


def packet(convert: Callable[[RecordDict], Packet | None]) -> Callable[[RecordDict], object]:
    def receive(record: RecordDict) -> object:
        if (found := convert(record)) is None:  # how the coordinator refuses
            raise ProtocolError("refused", remedy="None.", code="message.malformed")
        assert isinstance(found.envelope, bytes)
        assert found.array is None or (found.array.dtype, found.array.ndim) == ("uint32", 1)
        return found

    return receive


TARGETS = {
    **messages(),
    **trust(),
    "plan-toml": Target(broken=plan_files(), receive=read_plan),
    "site-record": Target(broken=records, receive=packet(site_to_packet)),
    "coordinator-record": Target(broken=records, receive=packet(coordinator_to_packet)),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", [pytest.param(t, id=name) for name, t in TARGETS.items()])
    if "bounded" in metafunc.fixturenames:
        kinds = {row.type: (encode(sample(kind)), kind, row.limit_bytes(N)) for kind, row in TABLE.items()}
        kinds["parcel"] = (encode(sample(DealParcel)), DealParcel, PARCEL.limit_bytes(N))
        kinds["envelope"] = (ENVELOPES[Start], Envelope, TABLE[Start].limit_bytes(N))
        kinds["signed"] = (sign_plan(PLAN, KEY), Signed, SIGNED_LIMIT_BYTES)
        kinds["roster"] = (encode(ROSTER), Roster, SIGNED_LIMIT_BYTES)
        kinds["plan"] = (encode(PLAN), StudyPlan, SIGNED_LIMIT_BYTES)
        metafunc.parametrize("bounded", kinds.values(), ids=kinds)


@pytest.fixture(scope="session")
def targets() -> dict[str, Target]:
    """Those that are believed to be sound."""
    return TARGETS
