"""One attempt at one round, from the coordinator's side: packets in, packets out, a sum at the end.

For each of the six exchanges of a round there is one method that gives the requests to send, and one that
takes a reply: ``start``, ``take_hello`` (1); ``cohort``, ``take_deal`` (2); ``envelopes``, ``take_masked``
(3); ``survivors``, ``take_confirm`` (4); ``confirms``, ``take_open`` (5); then ``aggregate``, and ``result``,
``take_accept`` (6). Asking for the next requests closes the exchange before.

Rules:

* A reply that is refused changes nothing: its sender simply has not answered. Replies that never come are no
  error; too few of them are, when the exchange is closed.
* Uploads are added as they arrive; one accumulator is held, never an array per site.
* The coordinator needs no secret of its own to add: it signs, so that a site knows whom it answers.
* ``retryable`` of an error says whether another attempt is free: it is until ENVELOPES have been handed out
  (``may_have_masked``); from then on a site may have sent its vector, and the round is void.

Not here: the network, deadlines, state and checkpoints (``rounds``); what sites check (``wardround_client``).

Privacy: ``aggregate`` is the sum over at least t sites; nothing here sees less than a sum.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al. 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, auto
from typing import TypeVar

import numpy as np

from wardround_common.canonical import decode
from wardround_common.messages import (
    PARCEL,
    Accept,
    Body,
    Cohort,
    Confirm,
    Confirms,
    Deal,
    DealParcel,
    Envelopes,
    Hello,
    Masked,
    Open,
    Opened,
    Packet,
    Result,
    Signer,
    Start,
    Survivors,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, vector_digest
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import threshold
from wardround_server.secagg import checks
from wardround_server.secagg.unmasking import Opening, unmask

B = TypeVar("B", bound=Body)


class _Phase(IntEnum):
    NEW = auto()
    HELLO = auto()
    DEAL = auto()
    MASKED = auto()
    CONFIRM = auto()
    OPEN = auto()
    SUMMED = auto()


class CoordinatorSession:
    """The coordinator's part in one attempt.

    Args:
        terms: What the round is about.
        signer: The coordinator's name (``trust.COORDINATOR``) and identity key.
        roster: The roster in ``terms`` as the authority signed it.
        accepts: The ACCEPT envelopes of the last round that ended, at most one per site.

    Attributes:
        blamed: Sites that provably broke the protocol without the attempt failing at once, and the code why.
    """

    def __init__(
        self, terms: RoundTerms, *, signer: Signer, roster: bytes, accepts: Iterable[bytes] = ()
    ) -> None:
        self._terms = terms
        self._signer = signer
        self._start = Start(roster, terms.state, tuple(accepts))
        self._phase = _Phase.NEW
        self._hellos: dict[str, Opened[Hello]] = {}
        self._deals: dict[str, Opened[Deal]] = {}
        self._ciphertexts: dict[str, tuple[bytes, ...]] = {}
        self._uploads: dict[str, Opened[Masked]] = {}
        self._confirmed: dict[str, Opened[Confirm]] = {}
        self._opened: dict[str, Opened[Open]] = {}
        self._accepted: dict[str, Opened[Accept]] = {}
        self._accumulator: Ring = np.zeros(terms.size, dtype=terms.word)
        self.blamed: dict[str, str] = {}

    def start(self) -> Packet:
        """1: START, the same for all sites of the plan."""
        self._expect(_Phase.NEW)
        self._phase = _Phase.HELLO
        return self._packet(self._start, self._terms.t0)

    def take_hello(self, reply: Packet, *, site: str | None = None) -> str:
        """1: a HELLO; returns who sent it.

        Args:
            reply: The packet.
            site: Who should have sent it; None where the transport does not know yet.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.answered_twice``,
                ``secagg.peer_state``, ``secagg.weak_key``, ``secagg.duplicate_key``.
        """
        self._expect(_Phase.HELLO)
        hello = self._terms.wire.open(reply.envelope, Hello, transcript=self._terms.t0, sender=site)
        self._check_sender(hello.sender, self._terms.sites, self._hellos)
        checks.check_hello(hello, self._terms, self._hellos)
        self._hellos[hello.sender] = hello
        return hello.sender

    def cohort(self) -> dict[str, Packet]:
        """2: COHORT, to everybody who said HELLO.

        Raises:
            SecAggError: ``secagg.cohort_too_small``.
        """
        self._expect(_Phase.HELLO)
        self._require(self._hellos, self._terms.minimum_cohort, "cohort_too_small")
        self._hellos = _by_name(self._hellos)
        self._members = tuple(self._hellos)
        self._t = threshold(len(self._members))
        self._t1 = transcript.t1(self._terms.t0, self._hellos)
        self._phase = _Phase.DEAL
        packet = self._packet(Cohort(_data(self._hellos)), self._terms.t0)
        return dict.fromkeys(self._members, packet)

    def take_deal(self, reply: Packet, *, site: str) -> str:
        """2: a DEAL with the ciphertexts beside it.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``, ``secagg.deal_shape``, ``secagg.ciphertext_altered``.
        """
        self._expect(_Phase.DEAL)
        parcel = decode(reply.envelope, DealParcel, limit_bytes=PARCEL.limit_bytes(len(self._terms.sites)))
        deal = self._terms.wire.open(parcel.envelope, Deal, transcript=self._t1, sender=site)
        self._check_sender(site, self._members, self._deals)
        checks.check_deal(deal, parcel.ciphertexts, self._members)
        self._deals[site] = deal
        self._ciphertexts[site] = parcel.ciphertexts
        return site

    def envelopes(self) -> dict[str, Packet]:
        """3: ENVELOPES, to each dealer all DEALs and the ciphertexts addressed to it.

        Raises:
            SecAggError: ``secagg.too_few_dealers``.
        """
        self._expect(_Phase.DEAL)
        self._require(self._deals, max(self._t, self._terms.minimum_cohort), "too_few_dealers")
        self._deals = _by_name(self._deals)
        self._t2 = transcript.t2(self._t1, self._deals)
        self._phase = _Phase.MASKED
        deals = _data(self._deals)
        return {
            site: self._packet(Envelopes(deals, self._ciphertexts_for(site)), self._t1)
            for site in self._deals
        }

    def take_masked(self, reply: Packet, *, site: str) -> str:
        """3: a MASKED; its vector is added and not kept.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``, ``secagg.bad_upload``.
        """
        self._expect(_Phase.MASKED)
        upload = self._terms.wire.open(reply.envelope, Masked, transcript=self._t2, sender=site)
        self._check_sender(site, self._deals, self._uploads)
        vector = checks.check_upload(upload, reply.array, terms=self._terms)
        np.add(self._accumulator, vector, out=self._accumulator)
        self._uploads[site] = upload
        return site

    def survivors(self) -> dict[str, Packet]:
        """4: SURVIVORS, to everybody whose upload is in the accumulator.

        Raises:
            SecAggError: ``secagg.too_few_uploads``.
        """
        self._expect(_Phase.MASKED)
        self._require(self._uploads, max(self._t, self._terms.minimum_cohort), "too_few_uploads")
        self._uploads = _by_name(self._uploads)
        self._t3 = transcript.t3(self._t2, self._uploads)
        self._phase = _Phase.CONFIRM
        return dict.fromkeys(self._uploads, self._packet(Survivors(_data(self._uploads)), self._t2))

    def take_confirm(self, reply: Packet, *, site: str) -> str:
        """4: a CONFIRM.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``.
        """
        self._expect(_Phase.CONFIRM)
        confirm = self._terms.wire.open(reply.envelope, Confirm, transcript=self._t3, sender=site)
        self._check_sender(site, self._uploads, self._confirmed)
        self._confirmed[site] = confirm
        return site

    def confirms(self) -> dict[str, Packet]:
        """5: CONFIRMS, to everybody who confirmed.

        Raises:
            SecAggError: ``secagg.too_few_confirms``.
        """
        self._expect(_Phase.CONFIRM)
        self._require(self._confirmed, self._t, "too_few_confirms")
        self._confirmed = _by_name(self._confirmed)
        self._phase = _Phase.OPEN
        return dict.fromkeys(self._confirmed, self._packet(Confirms(_data(self._confirmed)), self._t3))

    def take_open(self, reply: Packet, *, site: str) -> str:
        """5: an OPEN; every share in it opens the commitment that its dealer signed.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``, ``secagg.bad_open``, ``secagg.wrong_share`` (the opening site is
                named).
        """
        self._expect(_Phase.OPEN)
        opened = self._terms.wire.open(reply.envelope, Open, transcript=self._t3, sender=site)
        self._check_sender(site, self._confirmed, self._opened)
        checks.check_open(opened, self._opening())
        self._opened[site] = opened
        return site

    def aggregate(self) -> Ring:
        """The sum over the survivors, ring words, shape [P]. Read-only.

        Raises:
            SecAggError: ``secagg.too_few_opens``, or ``secagg.unrecoverable`` naming the dealer.
        """
        if self._phase == _Phase.SUMMED:
            return self._accumulator
        self._expect(_Phase.OPEN)
        self._require(self._opened, self._t, "too_few_opens")
        opens = {name: opened.body for name, opened in self._opened.items()}
        unmask(self._accumulator, self._opening(), opens, cipher=self._terms.cipher, blamed=self.blamed)
        self._accumulator.flags.writeable = False
        self._phase = _Phase.SUMMED
        return self._accumulator

    def result(self) -> dict[str, Packet]:
        """6: RESULT with the sum beside it, to everybody who opened."""
        self._expect(_Phase.SUMMED)
        total = self._accumulator
        packet = self._packet(Result(total.size, vector_digest(total)), self._t3, array=total)
        return dict.fromkeys(sorted(self._opened), packet)

    def take_accept(self, reply: Packet, *, site: str, next_digest: bytes) -> str:
        """6: an ACCEPT of the round as the coordinator itself computed it.

        Args:
            reply: The packet.
            site: Who should have sent it.
            next_digest: The outcome that the coordinator computed.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``, ``secagg.bad_accept``.
        """
        self._expect(_Phase.SUMMED)
        accept = self._terms.wire.open(reply.envelope, Accept, transcript=self._t3, sender=site)
        self._check_sender(site, self._opened, self._accepted)
        if accept.body != Accept(self.surviving, self._terms.state, next_digest):
            raise refuse("bad_accept", f"{site} accepted another outcome than the coordinator computed")
        self._accepted[site] = accept
        return site

    @property
    def accepts(self) -> tuple[bytes, ...]:
        """The ACCEPT envelopes taken, by site: for the next START, and for the release of the model."""
        return _data(_by_name(self._accepted))

    @property
    def surviving(self) -> tuple[str, ...]:
        """The sites in the sum, in ascending order."""
        return tuple(sorted(self._uploads))

    @property
    def threshold(self) -> int:
        """t, once COHORT has been handed out."""
        return self._t

    @property
    def may_have_masked(self) -> bool:
        """Whether a site may have sent its vector, so that the round is void if this attempt fails."""
        return self._phase >= _Phase.MASKED

    def _opening(self) -> Opening:
        return Opening(
            context=self._terms.context,
            t1=self._t1,
            t=self._t,
            hellos=self._hellos,
            deals=self._deals,
            survivors=self.surviving,
        )

    def _ciphertexts_for(self, holder: str) -> tuple[bytes, ...]:
        found = []
        for dealer in self._deals:
            if dealer != holder:
                peers = [name for name in self._members if name != dealer]
                found.append(self._ciphertexts[dealer][peers.index(holder)])
        return tuple(found)

    def _packet(self, body: Body, covers: bytes, *, array: Ring | None = None) -> Packet:
        return Packet(self._terms.wire.seal(body, transcript=covers, signer=self._signer), array)

    def _check_sender(self, site: str, asked: Iterable[str], answered: Mapping[str, object]) -> None:
        if site not in asked:
            raise refuse("not_asked", f"{site} was not asked in this exchange")
        if site in answered:
            raise refuse("answered_twice", f"{site} has answered already")

    def _require(self, answered: Mapping[str, object], needed: int, what: str) -> None:
        if len(answered) < needed:
            message = f"expected answers of at least {needed} sites, got {len(answered)}"
            raise refuse(what, message, retryable=not self.may_have_masked)

    def _expect(self, phase: _Phase) -> None:
        if self._phase != phase:
            raise refuse("order", f"expected phase {phase.name.lower()}, got {self._phase.name.lower()}")


def _by_name(messages: dict[str, Opened[B]]) -> dict[str, Opened[B]]:
    return dict(sorted(messages.items()))


def _data(messages: Mapping[str, Opened[B]]) -> tuple[bytes, ...]:
    return tuple(message.data for message in messages.values())
