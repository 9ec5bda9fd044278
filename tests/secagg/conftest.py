"""A whole federation in one process: production sessions on both sides, and the means to lie.

``World`` plays the honest protocol up to a message; tests then say something else with ``say`` or ``reseal``,
which speak the production codec and sign with a party's own valid key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest

from wardround_client.sealing import Sealer
from wardround_client.secagg import ProtocolRecord, SiteSession, Vault
from wardround_common.canonical import decode, encode
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey
from wardround_common.messages import Deal, DealParcel, Envelope, Hello, Packet, RoundContext, Signer
from wardround_common.messages.bodies import TABLE, Body
from wardround_common.plan_parts import CipherName
from wardround_common.secagg import shamir
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import Channel, HeldShares
from wardround_common.secagg.commitments import ciphertext_digest, commit_seed, commit_share
from wardround_common.secagg.ring import WORDS, Bits
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy
from wardround_common.streams import Stream, derive
from wardround_common.trust import COORDINATOR, Member, Roster, sign_roster
from wardround_server.secagg import CoordinatorSession

STEPS = (
    "start", "hello", "cohort", "deal", "envelopes", "masked",
    "survivors", "confirm", "confirms", "open", "result", "accept",
)  # fmt: skip
PLAN = b"p" * 32
STATE = b"s" * 32
NEXT = b"n" * 32
BIG = 2**31


def names(n: int) -> tuple[str, ...]:
    """a, b, ... y, za, zb, ... zy, zza, ...: in ascending order."""
    return tuple("z" * (i // 25) + "abcdefghijklmnopqrstuvwxy"[i % 25] for i in range(n))


def key_of(name: str) -> SigningKey:
    return SigningKey.from_seed(derive(b"k" * 32, name))


def make_record(path=":memory:") -> ProtocolRecord:
    return ProtocolRecord(path, study=PLAN, vault=Vault(Sealer(b"u" * 32, b"the site")))


class World:
    """``n`` sites named a, b, ... (``names``), one coordinator and one attempt at one round."""

    def __init__(
        self,
        n: int = 3,
        *,
        context: Mapping[str, object] | None = None,
        policy: SecAggPolicy | None = None,
        records: dict[str, ProtocolRecord] | None = None,
        members: int | None = None,
        verify_full: bool = False,
        degree: int = 12,
        bits: Bits = 32,
        cipher: CipherName = "aes-256-ctr",
        seed: str = "",
        size: int = 40,
        state: bytes = STATE,
        accepts: tuple[bytes, ...] = (),
    ) -> None:
        self.sites = names(n)
        self.policy = policy or SecAggPolicy()
        self.signers = {name: Signer(name, key_of(name)) for name in (*self.sites, COORDINATOR)}
        self.roster = self.make_roster(names(members or n))
        self.terms = RoundTerms(
            context=RoundContext(
                **{"plan_digest": PLAN, "round": 1, "kind": "train", "attempt": 1, **(context or {})}
            ),
            roster=self.roster,
            sites=frozenset(self.sites),
            minimum_cohort=3,
            state=state,
            size=size,
            word=WORDS[bits],
            cipher=cipher,
            degree=degree,
            verify_full=verify_full,
        )
        self.records = records or {name: make_record() for name in self.sites}
        self.entropy = {name: Stream(derive(b"e" * 32, seed, name)).bytes for name in self.sites}
        self.sessions = {name: self.session(name) for name in self.sites}
        self.signed_roster = sign_roster(self.roster, key_of("authority"))
        self.coordinator = CoordinatorSession(
            self.terms,
            signer=self.signers[COORDINATOR],
            roster=self.signed_roster,
            accepts=accepts,
        )
        numbers = Stream(derive(b"v" * 32, seed))
        spread = 2 ** (bits - 12)
        self.vectors = {
            name: (numbers.below(size, 2 * spread) - spread).astype(self.terms.word) for name in self.sites
        }
        self.requests: dict[str, Packet] = {}
        self.replies: dict[str, Packet] = {}
        self.packets: dict[str, dict[str, Packet]] = {}

    @staticmethod
    def make_roster(names: tuple[str, ...]) -> Roster:
        return Roster(
            version=1,
            issued="2026-01-01",
            expires="2026-01-31",
            sites=tuple(Member(name, key_of(name).public) for name in names),
            lead=key_of("lead").public,
            coordinator=key_of(COORDINATOR).public,
        )

    def session(self, name: str, *, record: ProtocolRecord | None = None) -> SiteSession:
        return SiteSession(
            self.terms,
            signer=self.signers[name],
            policy=self.policy,
            record=record or self.records[name],
            entropy=self.entropy[name],
        )

    def play(self, until: str, *, silent: Mapping[str, str] | None = None) -> World:
        """Play the honest protocol from the beginning up to and including message ``until``.

        ``silent`` says from which reply on a site is not heard of any more.
        """
        silent = silent or {}
        for step in STEPS[: STEPS.index(until) + 1]:
            if STEPS.index(step) % 2 == 0:
                asked = self.ask(step)
                self.requests = asked
            else:
                gone = {name for name, last in silent.items() if STEPS.index(last) <= STEPS.index(step)}
                self.replies = {
                    name: self.answer(step, name, packet)
                    for name, packet in self.requests.items()
                    if name not in gone
                }
                for name, packet in self.replies.items():
                    self.take(step, name, packet)
            self.packets[step] = dict(self.requests if STEPS.index(step) % 2 == 0 else self.replies)
        return self

    def begin(self, name: str, start: Packet, *, session: SiteSession | None = None) -> None:
        (session or self.sessions[name]).begin(start, roster=self.signed_roster)

    def ask(self, step: str) -> dict[str, Packet]:
        if step == "start":
            return dict.fromkeys(self.sites, self.coordinator.start())
        if step == "result":
            self.coordinator.aggregate()
            return self.coordinator.result(lambda name: self.packets["masked"][name].array)
        return getattr(self.coordinator, step)()

    def answer(self, step: str, name: str, request: Packet) -> Packet:
        session = self.sessions[name]
        match step:
            case "hello":
                self.begin(name, request)
                return session.hello(ledger_head=b"l" * 32)
            case "masked":
                return session.masked(request, self.vectors[name].copy())
            case "accept":
                session.result(request, bound=BIG)
                return session.accept(NEXT)
            case _:
                return getattr(session, step)(request)

    def take(self, step: str, name: str, reply: Packet) -> str:
        more = {"next_digest": NEXT} if step == "accept" else {}
        return getattr(self.coordinator, f"take_{step}")(reply, site=name, **more)

    def say(self, body: Body, transcript: bytes, *, by: str = COORDINATOR) -> bytes:
        """An envelope of this attempt with any body and transcript, signed with the key of ``by``."""
        return self.terms.wire.seal(body, transcript=transcript, signer=self.signers[by])

    def reseal(self, packet: Packet, change: Callable[[Body], Body] = lambda body: body, **fields) -> Packet:
        """``packet`` with another body, or other fields of the envelope, signed again by its sender."""
        if packet.envelope[0] == 0x92:  # a parcel: the ciphertexts stay as they are
            parcel = decode(packet.envelope, DealParcel, limit_bytes=1 << 20)
            inner = self.reseal(Packet(parcel.envelope), change, **fields).envelope
            return Packet(encode(msgspec.structs.replace(parcel, envelope=inner)))
        envelope = decode(packet.envelope, Envelope, limit_bytes=1 << 20)
        kind = next(kind for kind, row in TABLE.items() if row.type == envelope.type)
        body = encode(change(decode(envelope.body, kind, limit_bytes=1 << 20)))
        envelope = msgspec.structs.replace(envelope, **{"body": body, **fields})
        key = key_of(envelope.sender)
        signature = key.sign("envelope", envelope.signed_bytes)
        return Packet(encode(msgspec.structs.replace(envelope, signature=signature)), packet.array)

    def expected(self, survivors: tuple[str, ...]) -> np.ndarray:
        """The sum of the survivors' vectors, the slow way."""
        total = [sum(int(self.vectors[name][i]) for name in survivors) for i in range(self.terms.size)]
        return np.array([value % 256**self.terms.word.itemsize for value in total], dtype=self.terms.word)


class LyingDealer:
    """A member of the cohort with keys of its own, which deals as a test tells it to."""

    def __init__(self, w: World, name: str = "b") -> None:
        self.w, self.name = w, name
        self.entropy = Stream(derive(b"z" * 32, name)).bytes
        self.channel, self.mask = AgreementKey(self.entropy(32)), AgreementKey(self.entropy(32))
        self.seed = self.entropy(32)

    def hello(self, **fields):
        body = Hello(self.channel.public, self.mask.public, self.w.terms.state, b"l" * 32)
        return Packet(self.w.say(msgspec.structs.replace(body, **fields), self.w.terms.t0, by=self.name))

    def join(self):
        """All others say HELLO honestly, this site as it likes; returns the COHORT."""
        w = self.w.play("start")
        for name in w.sites:
            packet = self.hello() if name == self.name else w.answer("hello", name, w.requests[name])
            w.coordinator.take_hello(packet, site=name)
        w.requests = w.ask("cohort")
        self.t1 = w.coordinator._t1
        return w.requests[self.name]

    def deal(self, *, committed=None, sealed=None, threshold=None):
        """DEAL: ``committed`` and ``sealed`` change the shares before they are committed to, or sealed."""
        w, sites, t = self.w, self.w.sites, threshold or self.w.coordinator.threshold
        honest = {
            name: HeldShares(mask_key, seed)
            for name, mask_key, seed in zip(
                sites,
                shamir.split(self.mask.secret, threshold=t, count=len(sites), entropy=self.entropy),
                shamir.split(self.seed, threshold=t, count=len(sites), entropy=self.entropy),
                strict=True,
            )
        }
        shares = committed(honest) if committed else honest
        hellos = w.coordinator._hellos
        ciphertexts = []
        for name in sites:
            if name != self.name:
                secret = self.channel.agree(hellos[name].body.channel_key, peer=name)
                channel = Channel(secret=secret, transcript=self.t1, sender=self.name, recipient=name)
                ciphertexts.append(channel.seal((sealed(shares) if sealed else shares)[name]))
        body = Deal(
            commit_seed(self.t1, dealer=self.name, seed=self.seed),
            self._commitments("mask key", {name: held.mask_key for name, held in shares.items()}),
            self._commitments("seed", {name: held.seed for name, held in shares.items()}),
            tuple(ciphertext_digest(ciphertext) for ciphertext in ciphertexts),
        )
        self.shares = shares
        return Packet(encode(DealParcel(w.say(body, self.t1, by=self.name), tuple(ciphertexts))))

    def _commitments(self, of, shares):
        return tuple(
            commit_share(self.t1, of=of, dealer=self.name, holder=name, share=share)
            for name, share in shares.items()
        )

    def finish_dealing(self, **lies):
        """Everybody deals; returns the ENVELOPES."""
        self.join()
        mine = self.deal(**lies)
        for name in self.w.sites:
            packet = mine if name == self.name else self.w.sessions[name].deal(self.w.requests[name])
            self.w.coordinator.take_deal(packet, site=name)
        self.w.requests = self.w.ask("envelopes")
        return self.w.requests


@contextmanager
def _refused(code: str, *, naming: str = "", retryable: bool | None = None) -> Iterator[None]:
    with pytest.raises(ProtocolError) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert naming in caught.value.message
    assert retryable is None or caught.value.retryable == retryable


@pytest.fixture(name="make_record", scope="session")
def _make_record() -> Callable[..., ProtocolRecord]:
    return make_record


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def refused() -> Callable[..., object]:
    """Context manager: the block must raise a ProtocolError of exactly this code."""
    return _refused


@pytest.fixture(scope="session")
def lying_dealer() -> type[LyingDealer]:
    return LyingDealer
