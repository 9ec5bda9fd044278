"""One approved study at a site: attempts at its rounds, and the states between them.

Not here: the order of a round (``rounds``), the messages and their checks (``secagg``), what is computed from
patients (``outputs``), approval (``site``).

Rules:

* A round starts from the state that this site accepted last, or from one that an unbroken chain of links
  leads to from there.
* A state is stored before the ACCEPT that leads to it is recorded.

Privacy: states are functions of sums; what leaves is what ``SiteSession`` returns.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround_client.outputs import Outputs
from wardround_client.parts import SiteParts
from wardround_client.secagg import ProtocolRecord, SiteSession, Vault, follow, read_start
from wardround_client.training.work import Trainer
from wardround_common.aggregate import Aggregation
from wardround_common.errors import PrivacyError, ProtocolError, StorageError
from wardround_common.messages import (
    NO_TRANSCRIPT,
    Abandon,
    Abort,
    Hello,
    Kind,
    Packet,
    RoundContext,
    Start,
    Wire,
    peek_request,
)
from wardround_common.plan import StudyPlan
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy
from wardround_common.state import StudyState, initial_state, unpack
from wardround_common.trust import COORDINATOR, Roster, open_roster, plan_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt that the site takes part in.

    Attributes:
        context: Which.
        session: The site's side of the protocol.
        state: The state that the round starts from.
    """

    context: RoundContext
    session: SiteSession
    state: StudyState

    @property
    def kind(self) -> Kind:
        """Of the round."""
        return self.context.kind


class SiteStudy:
    """A study that the site approved, and the data that it approved it for."""

    def __init__(self, parts: SiteParts, *, plan: StudyPlan, snapshot: bytes, trainer: Trainer) -> None:
        self._parts = parts
        self._plan = plan
        self._digest = plan_digest(plan)
        self._outputs = Outputs(parts, plan=plan, snapshot=snapshot, trainer=trainer)
        self._sums = Aggregation(plan)
        self._policy = SecAggPolicy(
            minimum_cohort=parts.policy.minimum_cohort, max_colluders=parts.policy.max_colluders
        )
        vault = Vault(parts.scratch.vault(self._digest))
        self._record = ProtocolRecord(
            parts.record_path, study=self._digest, vault=vault, tip=parts.scratch.tip(self._digest)
        )

    @property
    def sites(self) -> int:
        """Number of sites of the plan."""
        return len(self._plan.sites)

    def close(self) -> None:
        """Close what belongs to this study alone."""
        self._record.close()

    def settle(self, note: str) -> None:
        """Let the study go on after a pause; a person decided it and says why."""
        self._record.settle(note)

    def begin(self, start: Packet) -> Attempt:
        """1: verify START, catch up with what other sites accepted meanwhile, and begin the attempt.

        Raises:
            ProtocolError, ConsentError: START, its roster, its links or its state is not acceptable.
            PrivacyError: ``ledger.rolled_back``: the ledger is older than what this site has sent.
            StorageError: The state is gone, or ``storage.record_rolled_back``.
        """
        claim = read_start(start, sites=self.sites)
        roster = self._roster(claim.roster)
        terms = self._sums.terms(claim.context, roster=roster, state=claim.state)
        request = terms.wire.open(start.envelope, Start, transcript=terms.t0, sender=COORDINATOR).body
        self._check_history(request.hello, terms.wire)
        state = self._state()
        if request.links and claim.state != state.digest:
            state = self._catch_up(request, start, terms, state)
        session = SiteSession(
            self._sums.terms(claim.context, roster=roster, state=state.digest),
            signer=self._parts.signer,
            policy=self._policy,
            record=self._record,
            entropy=self._parts.entropy,
            threads=self._parts.flags.threads,
        )
        session.begin(start, roster=claim.roster)
        return Attempt(context=claim.context, session=session, state=state)

    def resume(self, request: Packet) -> Attempt:
        """The attempt of a request as the record has it: the one begun last, and only after MASKED.

        Raises:
            ProtocolError: ``round.not_open``: there is no such attempt.
        """
        context = peek_request(request.envelope, sites=self.sites).context
        begun = self._record.begun()
        if begun is None or begun.context != context:
            raise nothing_open()
        session = SiteSession.resume(
            self._sums.terms(context, roster=self._roster(begun.roster), state=begun.start),
            signer=self._parts.signer,
            policy=self._policy,
            record=self._record,
        )
        if session is None:
            raise nothing_open()
        return Attempt(context=context, session=session, state=self._stored(begun.start))

    def abort(self, request: Packet) -> Packet:
        """A: "I have not opened this attempt and never will", recorded before it is said.

        Raises:
            ProtocolError: The message itself, ``round.not_open``, ``secagg.abort_after_open`` or
                ``secagg.round_closed``.
        """
        context = peek_request(request.envelope, sites=self.sites).context
        _, signed = self._record.newest_roster()
        if not signed:
            raise nothing_open()
        wire = self._sums.terms(context, roster=self._roster(signed), state=bytes(32)).wire
        wire.open(request.envelope, Abandon, transcript=NO_TRANSCRIPT, sender=COORDINATOR)
        statement = wire.seal(Abort(), transcript=NO_TRANSCRIPT, signer=self._parts.signer)
        return Packet(self._record.abort(context, statement))

    def output(self, attempt: Attempt) -> Ring:
        """What this site masks in an attempt: spent, computed once per round.

        Raises:
            PrivacyError: Those of ``Outputs.output``.
        """
        return self._outputs.output(attempt.context, attempt.state)

    def ledger_head(self) -> bytes:
        """Hash of the ledger's last row."""
        return self._parts.ledger.head()

    def sum_bound(self, kind: Kind, survivors: tuple[str, ...]) -> int:
        """The largest size, in levels, that a coordinate of an honest sum over ``survivors`` can have."""
        return self._sums.bound(kind, survivors)

    def following(self, attempt: Attempt, total: Ring) -> bytes:
        """Compute and store what a round leads to; returns the digest to accept.

        TRAIN leads to the next state; EVALUATE leaves the state as it is.

        Args:
            attempt: Whose survivors are confirmed.
            total: The verified sum.
        """
        context, state = attempt.context, attempt.state
        if attempt.kind == "evaluate":
            return self._sums.counted(state, total)
        following = self._sums.following(state, total, attempt.session.survivors)
        local_L = self._outputs.local_after(context)
        self._parts.scratch.keep_state(self._digest, following, local_L=local_L, beside=state.digest)
        return following.digest

    def _roster(self, signed: bytes) -> Roster:
        """The roster, if it is the authority's, fresh, no older than one seen before, and has our key.

        Raises:
            ConsentError: ``trust.other_key``: the plan or the roster gives a pinned name another key.
        """
        newest, _ = self._record.newest_roster()
        roster = open_roster(
            signed,
            authority_key=bytes.fromhex(self._plan.authority_key),
            today=self._parts.today(),
            newest=newest,
        )
        self._parts.pins.check_plan(self._plan)
        self._parts.pins.check_roster(roster)
        if roster.key_of(self._parts.signer.name) != self._parts.signer.key.public:
            raise refuse("own_key", "the roster gives this site another identity key than its own")
        self._record.see_roster(roster.version, signed)
        return roster

    def _check_history(self, hello: bytes, wire: Wire) -> None:
        """Record and ledger know the last HELLO that this site sent, as the coordinator has it."""
        if not hello:
            return
        sent = wire.open_past(hello, Hello, sender=self._parts.signer.name)
        self._record.check_knows(sent.context)
        if not self._parts.ledger.knows_head(sent.body.ledger_head):
            raise PrivacyError(
                "this site's ledger is older than the last HELLO that it sent: it was restored from a backup",
                remedy="Put the newer ledger back. If it is lost, end the study at this site and start anew "
                "with patients who were in none before.",
                code="ledger.rolled_back",
            )

    def _catch_up(self, request: Start, start: Packet, terms: RoundTerms, state: StudyState) -> StudyState:
        """The state that an unbroken chain of links leads to, of which START brings the bytes; kept."""
        number, reached = follow(
            request.links,
            wire=terms.wire,
            site=self._parts.signer.name,
            state=state.digest,
            after=self._record.last_round(),
            max_colluders=self._policy.max_colluders,
        )
        if reached != request.state:
            raise refuse("link_short", "the links lead to another state than the round starts from")
        if start.array is None:
            raise refuse("state_missing", "expected the state's numbers beside START")
        caught_up = unpack(self._plan, start.array)
        if caught_up.digest != reached:
            raise refuse("state_altered", "the state beside START is not the one that was accepted")
        local_L = self._parts.scratch.local(self._digest, state.digest)
        self._parts.scratch.keep_state(self._digest, caught_up, local_L=local_L, beside=state.digest)
        self._record.adopt(number, state=reached, links=request.links)
        return caught_up

    def _state(self) -> StudyState:
        """The state that this site accepted last; before the first round the computed one."""
        accepted = self._record.state()
        return initial_state(self._plan) if accepted is None else self._stored(accepted)

    def _stored(self, wanted: bytes) -> StudyState:
        """The state with that digest."""
        words = self._parts.scratch.state(self._digest, wanted)
        if words is None and (first := initial_state(self._plan)).digest == wanted:
            return first
        if words is None:
            raise StorageError(
                "the state that this site accepted last is not in its scratch database",
                remedy="Let the site sit out the rest of this study, and check its disk.",
                code="storage.state_lost",
            )
        return unpack(self._plan, words)


def nothing_open() -> ProtocolError:
    """A request came that no attempt at this site is waiting for."""
    return ProtocolError(
        "a message came that no attempt is waiting for",
        remedy="Wait for the next round: the attempt that it belongs to is over here.",
        code="round.not_open",
    )
