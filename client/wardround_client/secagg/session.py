"""One attempt at one round, from a site's side: a state machine over packets.

The methods are the site's answers to the six exchanges of a round, in order: ``begin`` and ``hello``
(1), ``deal`` (2), ``masked`` (3), ``confirm`` (4), ``open`` (5), ``result`` and ``accept`` (6). Called in
another order they refuse; when a check fails nothing has changed.

Rules:

* What must never be contradicted is in the record, durably, before the method returns it.
* ``confirm``, ``open`` and ``accept`` may be asked again and give the same bytes, also after a restart:
  ``resume`` goes on from the record.
* The keys of the attempt live in this object only and are dropped as soon as their last use is over.

Not here: plan, roster, ledger, training and what the sum means (``rounds``); the checks (``checks``,
``sums``).

Privacy: HELLO shows two public keys and the hash of the ledger's head; DEAL nothing; MASKED is uniform to
whoever lacks this site's keys and t shares; OPEN lets the coordinator take the masks off the *sum* of the
confirmed survivors, of whom there are at least t and the site's own minimum.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al. 2017, figure 4.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import IntEnum, auto
from typing import TypeVar

from wardround_client.secagg import checks
from wardround_client.secagg.keys import AttemptKeys, all_masks, deal_out
from wardround_client.secagg.record import ProtocolRecord
from wardround_client.secagg.rows import SentUpload
from wardround_client.secagg.sums import check_result
from wardround_common.canonical import encode
from wardround_common.messages import (
    Accept,
    Body,
    Confirm,
    DealParcel,
    Hello,
    Masked,
    Open,
    Opened,
    Packet,
    Signer,
)
from wardround_common.secagg.channel import HeldShares
from wardround_common.secagg.masks import apply_masks
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, is_vector, vector_digest
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy

B = TypeVar("B", bound=Body)


class _Phase(IntEnum):
    NEW = auto()
    BEGUN = auto()
    HELLOED = auto()
    DEALT = auto()
    MASKED = auto()
    CONFIRMED = auto()
    OPENED = auto()
    SUMMED = auto()
    ACCEPTED = auto()


class SiteSession:
    """A site's part in one attempt.

    Args:
        terms: What the site itself knows about the round.
        signer: The site's name and identity key.
        policy: The site's own limits.
        record: The site's durable record of this study.
        entropy: Gives secret random bytes. Anything but the operating system's is for tests and simulations.
        threads: How many make the masks; the result is the same.
    """

    def __init__(
        self,
        terms: RoundTerms,
        *,
        signer: Signer,
        policy: SecAggPolicy,
        record: ProtocolRecord,
        entropy: Callable[[int], bytes] = os.urandom,
        threads: int = 1,
    ) -> None:
        self._terms = terms
        self._signer = signer
        self._policy = policy
        self._record = record
        self._entropy = entropy
        self._threads = threads
        self._phase = _Phase.NEW
        self._keys: AttemptKeys | None = None
        self._held: Mapping[str, HeldShares] = {}

    @classmethod
    def resume(
        cls, terms: RoundTerms, *, signer: Signer, policy: SecAggPolicy, record: ProtocolRecord
    ) -> SiteSession | None:
        """The session of an attempt as the record has it; None where this site has not sent MASKED in it.

        Raises:
            ProtocolError: ``secagg.aborted``, or the site's own limits have changed.
            StorageError: The shares of the attempt are gone.
        """
        sent = record.sent(terms.context)
        if sent is None:
            return None
        record.check_not_aborted(terms.context)
        session = cls(terms, signer=signer, policy=policy, record=record)
        session._go_on_from(sent)
        return session

    def begin(self, start: Packet, *, roster: bytes) -> None:
        """1: verify START and record the attempt. To be called before any patient's data is touched.

        Args:
            start: The coordinator's START.
            roster: The roster of the terms, as the authority signed it.

        Raises:
            ProtocolError: The message itself, ``secagg.start_state``, ``secagg.not_in_accept``, or those of
                ``ProtocolRecord.compare`` and ``ProtocolRecord.begin``.
        """
        self._expect(_Phase.NEW)
        checks.check_start(start, self._terms, self._record)
        self._record.begin(self._terms.context, start=self._terms.state, roster=roster)
        self._phase = _Phase.BEGUN

    def hello(self, *, ledger_head: bytes) -> Packet:
        """1: HELLO with fresh one-attempt keys. To be called when the output's digest is in the ledger.

        Args:
            ledger_head: Hash of the ledger's last row, 32 bytes.
        """
        self._expect(_Phase.BEGUN)
        keys = AttemptKeys.generate(self._entropy)
        body = Hello(keys.channel.public, keys.mask.public, self._terms.state, ledger_head)
        self._keys = keys
        self._hello = self._seal(body, self._terms.t0)
        self._phase = _Phase.HELLOED
        return Packet(self._hello)

    def deal(self, cohort: Packet) -> Packet:
        """2: DEAL, a share of the mask key and of the self-mask seed for every member of the cohort.

        Raises:
            ProtocolError: The message itself, or ``secagg.left_out``, ``secagg.own_hello``,
                ``secagg.peer_state``, ``secagg.duplicate_key``, ``secagg.abort_order``,
                ``secagg.cohort_too_small``, ``secagg.too_few_honest``, ``secagg.too_many_colluders``,
                ``secagg.weak_key``.
        """
        keys = self._expect_keys(_Phase.HELLOED)
        view = checks.check_cohort_message(
            cohort, self._terms, site=self._signer.name, own_hello=self._hello, policy=self._policy
        )
        dealt = deal_out(keys, view, dealer=self._signer.name, entropy=self._entropy)
        data = self._seal(dealt.body, view.t1)
        self._cohort, self._own = view, dealt.own
        self._deal = Opened(self._signer.name, self._terms.context, dealt.body, data)
        self._phase = _Phase.DEALT
        return Packet(encode(DealParcel(data, dealt.ciphertexts)))

    def masked(self, envelopes: Packet, vector: Ring) -> Packet:
        """3: MASKED, with the masked vector beside it.

        Args:
            envelopes: The coordinator's ENVELOPES.
            vector: The encoded update, ring words, shape [P]. **Overwritten** with the masked one, so that no
                plain copy stays behind; still plain where a check of ENVELOPES fails.

        Raises:
            ProtocolError: The message itself, or ``secagg.own_deal``, ``secagg.too_few_dealers``,
                ``secagg.not_in_cohort``, ``secagg.deal_shape``, ``secagg.dealers_split``,
                ``secagg.ciphertext_count``, ``secagg.ciphertext_altered``, ``secagg.bad_ciphertext``,
                ``secagg.wrong_share`` (the dealer is named), ``secagg.weak_key``, ``secagg.bad_vector``, or
                those of ``ProtocolRecord.masked``.
        """
        keys = self._expect_keys(_Phase.DEALT)
        view, held = checks.check_envelopes(
            envelopes,
            self._terms,
            self._cohort,
            own=self._deal,
            channel_key=keys.channel,
            policy=self._policy,
        )
        if not is_vector(vector, self._terms.size, self._terms.word) or not vector.flags.writeable:
            raise refuse(
                "bad_vector", f"expected a writable {self._terms.word} vector of {self._terms.size} numbers"
            )
        cohort, context, site = self._cohort, self._terms.context, self._signer.name
        peers = [name for name in cohort.neighbours if name in view.deals]
        masks = all_masks(keys, context, cohort.hellos, site=site, peers=peers)
        apply_masks(vector, masks, cipher=self._terms.cipher, threads=self._threads)
        upload = self._seal(Masked(vector.size, vector_digest(vector)), view.t2)
        sent = SentUpload(
            cohort=cohort.members,
            t=cohort.t,
            hellos=_data(cohort.hellos),
            deals=_data(view.deals),
            message=upload,
        )
        held[site] = self._own
        self._record.masked(
            context,
            sent,
            held=held,
            aborts=cohort.aborts,
            site=site,
            max_colluders=self._policy.max_colluders,
        )
        self._dealt, self._held, self._upload, self._keys = view, held, upload, None
        self._phase = _Phase.MASKED
        return Packet(upload, vector)

    def confirm(self, survivors: Packet) -> Packet:
        """4: CONFIRM, a signature over the set of survivors; one set per attempt.

        Raises:
            ProtocolError: The message itself, or ``secagg.own_upload``, ``secagg.not_a_dealer``,
                ``secagg.peer_size``, ``secagg.too_few_uploads``, ``secagg.survivors_split``, or those of
                ``ProtocolRecord.confirm``.
        """
        self._expect(_Phase.MASKED, until=_Phase.ACCEPTED)
        view = checks.check_survivors(
            survivors, self._terms, self._cohort, self._dealt, own=self._upload, policy=self._policy
        )
        self._record.confirm(self._terms.context, _data(view.uploads))
        self._survivors = view
        self._phase = max(self._phase, _Phase.CONFIRMED)
        return Packet(self._seal(Confirm(), view.t3))

    def open(self, confirms: Packet) -> Packet:
        """5: OPEN, one share per dealer: of its seed if it survived, of its mask key if it dropped.

        Raises:
            ProtocolError: The message itself, or ``secagg.not_a_survivor``, ``secagg.too_few_confirms``, or
                those of ``ProtocolRecord.release``.
        """
        self._expect(_Phase.CONFIRMED, until=_Phase.ACCEPTED)
        view = self._survivors
        checks.check_confirms(confirms, self._terms, t=self._cohort.t, view=view)
        if self._phase == _Phase.CONFIRMED:
            body = Open(
                tuple(self._held[name].seed for name in view.survivors),
                tuple(self._held[name].mask_key for name in view.dropped),
            )
            self._opened = self._record.release(self._terms.context, self._seal(body, view.t3))
            self._held = {}
            self._phase = _Phase.OPENED
        return Packet(self._opened)

    def result(self, result: Packet, *, bound: int) -> Ring:
        """6: the verified sum, from which the site computes the next state itself.

        Args:
            result: The coordinator's RESULT.
            bound: Largest size of a coordinate of an honest sum over the survivors, in levels.

        Raises:
            ProtocolError: Those of ``sums.check_result``.
        """
        self._expect(_Phase.OPENED, until=_Phase.ACCEPTED)
        total = check_result(
            result,
            self._terms,
            cohort=self._cohort,
            dealt=self._dealt,
            view=self._survivors,
            bound=bound,
        )
        self._phase = max(self._phase, _Phase.SUMMED)
        return total

    def accept(self, next_digest: bytes) -> Packet:
        """6: ACCEPT, a signature that this round leads to ``next_digest``; one per round.

        Raises:
            SecAggError: ``secagg.accepted_otherwise``.
        """
        self._expect(_Phase.SUMMED, until=_Phase.ACCEPTED)
        start = self._terms.state
        message = self._seal(Accept(self.survivors, start, next_digest), self._survivors.t3)
        self._record.accept(self._terms.context, start=start, next_digest=next_digest, message=message)
        self._phase = _Phase.ACCEPTED
        return Packet(message)

    @property
    def survivors(self) -> tuple[str, ...]:
        """The sites whose vectors are in the sum, once ``confirm`` has returned."""
        self._expect(_Phase.CONFIRMED, until=_Phase.ACCEPTED)
        return self._survivors.survivors

    def _go_on_from(self, sent: SentUpload) -> None:
        """Take everything from the record; what it holds is checked as it was when it came."""
        terms, context, site, policy = self._terms, self._terms.context, self._signer.name, self._policy
        self._cohort = checks.view_cohort(sent.hellos, terms, site=site, policy=policy, aborts={})
        self._dealt = checks.view_dealt(sent.deals, terms, self._cohort, policy=policy)
        self._upload = sent.message
        self._phase = _Phase.MASKED
        uploads = self._record.confirmed(context)
        if uploads is not None:
            self._survivors = checks.view_survivors(
                uploads, terms, self._cohort, self._dealt, own=self._upload, policy=policy
            )
            self._phase = _Phase.CONFIRMED
        opened = self._record.released(context)
        if opened is not None:
            self._opened = opened
            self._phase = _Phase.OPENED
        else:
            self._held = self._record.held(context)

    def _seal(self, body: Body, transcript: bytes) -> bytes:
        return self._terms.wire.seal(body, transcript=transcript, signer=self._signer)

    def _expect(self, first: _Phase, *, until: _Phase | None = None) -> None:
        if not first <= self._phase <= (until or first):
            raise refuse("order", f"expected phase {first.name.lower()}, got {self._phase.name.lower()}")

    def _expect_keys(self, phase: _Phase) -> AttemptKeys:
        self._expect(phase)
        assert self._keys is not None  # from hello until masked
        return self._keys


def _data(messages: Mapping[str, Opened[B]]) -> tuple[bytes, ...]:
    return tuple(message.data for message in messages.values())
