"""One attempt at one round, from the coordinator's side: packets in, packets out, a sum at the end.

For each of the six exchanges of a round there is one method that gives the requests to send, and one that
takes a reply: ``start``, ``take_hello`` (1); ``cohort``, ``take_deal`` (2); ``envelopes``, ``take_masked``
(3); ``survivors``, ``take_confirm`` (4); ``confirms``, ``take_open`` (5); then ``aggregate``, and ``result``,
``take_accept`` (6). Asking for the next requests closes the exchange before.

Rules:

* A reply that is refused changes nothing: its sender simply has not answered. Replies that never come are no
  error; too few of them are, when the exchange is closed.
* Uploads are added as they arrive; one accumulator is held, never an array per site.
* The coordinator needs no secret of its own to add: it signs, so that a site knows whom it answers. The same
  replies give the same requests, byte for byte: an attempt is resumed by taking its replies again.
* ``retryable`` of an error says whether another attempt is free: it is until ENVELOPES have been handed out
  (``may_have_masked``). From then on a site may have sent its vector, and another attempt needs ABORTs
  (``failed``); once CONFIRMS have been handed out (``may_be_opened``) there is none.

Not here: the network, deadlines and the journal (``rounds``); what sites check (``wardround_client``).

Privacy: ``aggregate`` is the sum over at least t sites; nothing here sees less than a sum.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al. 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum, auto
from typing import TypeVar

import numpy as np

from wardround_common.canonical import decode
from wardround_common.errors import SecAggError
from wardround_common.messages import (
    PARCEL,
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
from wardround_common.secagg.unmasking import Opening, check_open, unmask
from wardround_server.secagg import checks
from wardround_server.secagg.abandoning import FailedAttempt
from wardround_server.secagg.acceptance import Acceptance

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
        accepts: The ACCEPT envelopes of the last round that was accepted, at most one per site.

    Attributes:
        blamed: Sites that provably broke the protocol, with a message that they signed, and the code why.
    """

    def __init__(
        self, terms: RoundTerms, *, signer: Signer, roster: bytes, accepts: Iterable[bytes] = ()
    ) -> None:
        self._terms = terms
        self._signer = signer
        self._roster = roster
        self._accepts = tuple(accepts)
        self._phase = _Phase.NEW
        self._hellos: dict[str, Opened[Hello]] = {}
        self._deals: dict[str, Opened[Deal]] = {}
        self._ciphertexts: dict[str, tuple[bytes, ...]] = {}
        self._uploads: dict[str, Opened[Masked]] = {}
        self._confirmed: dict[str, Opened[Confirm]] = {}
        self._opened: dict[str, Opened[Open]] = {}
        self._accumulator: Ring = np.zeros(terms.size, dtype=terms.word)
        self.blamed: dict[str, str] = {}

    def start(
        self, *, links: tuple[tuple[bytes, ...], ...] = (), hello: bytes = b"", state: Ring | None = None
    ) -> Packet:
        """1: START, for one site.

        Args:
            links: ACCEPTs of each round that the site missed, oldest first.
            hello: The last HELLO that the site sent.
            state: What the round starts from, packed; for a site that missed rounds.
        """
        if self._phase == _Phase.NEW:
            self._phase = _Phase.HELLO
        self._expect(_Phase.HELLO)
        body = Start(self._roster, self._terms.state, self._accepts, links, hello)
        return self._packet(body, self._terms.t0, array=state)

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
        checks.check_sender(hello.sender, self._terms.sites, self._hellos)
        checks.check_hello(hello, self._terms, self._hellos)
        self._hellos[hello.sender] = hello
        return hello.sender

    def cohort(self, aborts: Iterable[bytes] = ()) -> dict[str, Packet]:
        """2: COHORT, to everybody who said HELLO.

        Args:
            aborts: The ABORT envelopes of earlier attempts at this round, by attempt and name.

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
        packet = self._packet(Cohort(_data(self._hellos), tuple(aborts)), self._terms.t0)
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
        checks.check_sender(site, self._members, self._deals)
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
                ``secagg.answered_twice``, ``secagg.upload_size``, ``secagg.upload_shape``,
                ``secagg.upload_digest``.
        """
        self._expect(_Phase.MASKED)
        upload = self._terms.wire.open(reply.envelope, Masked, transcript=self._t2, sender=site)
        checks.check_sender(site, self._deals, self._uploads)
        vector = checks.check_upload(upload, reply.array, terms=self._terms)
        np.add(self._accumulator, vector, out=self._accumulator)
        self._uploads[site] = upload
        return site

    def checkpoint(self) -> tuple[dict[str, bytes], Ring]:
        """3: the MASKED envelopes taken, by site, and the sum of their vectors; for ``restore``."""
        self._expect(_Phase.MASKED)
        return {site: upload.data for site, upload in self._uploads.items()}, self._accumulator

    def restore(self, uploads: Mapping[str, bytes], total: Ring) -> None:
        """3: take a checkpoint in place of the uploads.

        Args:
            uploads: MASKED envelopes by site.
            total: The sum of their vectors, shape [P]; a copy is made.

        Raises:
            ProtocolError: A message is not one of this attempt, or ``secagg.upload_shape``.
        """
        self._expect(_Phase.MASKED)
        for site, data in uploads.items():
            upload = self._terms.wire.open(data, Masked, transcript=self._t2, sender=site)
            checks.check_sender(site, self._deals, self._uploads)
            self._uploads[site] = upload
        self._accumulator = checks.check_total(total, terms=self._terms).copy()

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
        checks.check_sender(site, self._uploads, self._confirmed)
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
                ``secagg.answered_twice``, ``secagg.open_shape``, ``secagg.wrong_opened_share`` (the site
                that opened is named, and blamed).
        """
        self._expect(_Phase.OPEN)
        opened = self._terms.wire.open(reply.envelope, Open, transcript=self._t3, sender=site)
        checks.check_sender(site, self._confirmed, self._opened)
        try:
            check_open(opened, self._opening())
        except SecAggError as error:
            self.blamed[site] = error.code
            raise
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
        unmask(self._accumulator, self._opening(), opens, blamed=self.blamed)
        self._accumulator.flags.writeable = False
        self._acceptance = Acceptance(
            self._terms, t3=self._t3, survivors=self.surviving, asked=self.opened, blamed=self.blamed
        )
        self._phase = _Phase.SUMMED
        return self._accumulator

    def result(self, vector: Callable[[str], Ring] | None = None) -> dict[str, Packet]:
        """6: RESULT, to everybody who opened: with the sum, or with what it is the sum of.

        Args:
            vector: Gives a survivor's masked vector as it was taken; needed where the terms say
                ``verify_full``.
        """
        self._expect(_Phase.SUMMED)
        total = self._accumulator
        if not self._terms.verify_full:
            body, array = Result(total.size, vector_digest(total), ()), total
        elif vector is None:
            raise ValueError("under verify = full RESULT carries the masked vectors")
        else:
            body = Result(total.size, vector_digest(total), _data(_by_name(self._opened)))
            array = np.concatenate([vector(site) for site in self.surviving])
        return dict.fromkeys(sorted(self._opened), self._packet(body, self._t3, array=array))

    def take_accept(self, reply: Packet, *, site: str, next_digest: bytes) -> str:
        """6: an ACCEPT of the round as the coordinator itself computed it.

        Args:
            reply: The packet.
            site: Who should have sent it.
            next_digest: The outcome that the coordinator computed.

        Raises:
            ProtocolError: The message itself, or ``secagg.order``, ``secagg.not_asked``,
                ``secagg.answered_twice``, ``secagg.accept_survivors``, ``secagg.accept_start``,
                ``secagg.accept_next`` (the ACCEPT may become ``evidence``).
        """
        self._expect(_Phase.SUMMED)
        return self._acceptance.take(reply, site=site, next_digest=next_digest)

    def failed(self) -> FailedAttempt:
        """This attempt, to be abandoned: it failed after ENVELOPES and before CONFIRMS.

        Raises:
            SecAggError: ``secagg.order``: nothing can have been masked, or somebody may have opened.
        """
        if not self.may_have_masked or self.may_be_opened:
            raise refuse("order", f"an attempt in phase {self._phase.name.lower()} is not abandoned")
        return FailedAttempt(self._terms, members=self._members, signer=self._signer)

    @property
    def accepts(self) -> tuple[bytes, ...]:
        """The ACCEPT envelopes taken, by site: for the next START, and for the release of the model."""
        return tuple(self.accepted.values())

    @property
    def accepted(self) -> dict[str, bytes]:
        """The same with the sites' names, in ascending order."""
        return self._acceptance.accepted if self._phase == _Phase.SUMMED else {}

    @property
    def evidence(self) -> dict[str, bytes]:
        """ACCEPTs of another outcome than the coordinator's, by site, where ACCEPTs contradict each other."""
        return self._acceptance.evidence if self._phase == _Phase.SUMMED else {}

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
        """Whether a site may have sent its vector, so that another attempt needs ABORTs."""
        return self._phase >= _Phase.MASKED

    @property
    def may_be_opened(self) -> bool:
        """Whether a site may have opened, so that the round is void if this attempt fails."""
        return self._phase >= _Phase.OPEN

    @property
    def greeted(self) -> tuple[str, ...]:
        """The sites whose HELLO was taken, in ascending order."""
        return tuple(sorted(self._hellos))

    @property
    def opened(self) -> tuple[str, ...]:
        """The sites whose OPEN was taken, in ascending order."""
        return tuple(sorted(self._opened))

    def _opening(self) -> Opening:
        return Opening(
            context=self._terms.context,
            t1=self._t1,
            t=self._t,
            hellos=self._hellos,
            deals=self._deals,
            survivors=self.surviving,
            degree=self._terms.degree,
            cipher=self._terms.cipher,
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
