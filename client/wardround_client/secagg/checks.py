"""What a site checks about the coordinator's messages before it answers: bytes in, verified views out.

One function per exchange. Each raises for the first check that fails and changes nothing; the session acts
only on what they return. The numbers are those of the six exchanges.

Not here: what was said before and must not be contradicted (``record``), the sum (``sums``), keys and answers
(``session``).

Privacy: reads only what others sent.

References: ARCHITECTURE.md, "A round, message by message", last column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from wardround_client.secagg.announcement import read_start
from wardround_client.secagg.record import ProtocolRecord
from wardround_common.messages import (
    Accept,
    Cohort,
    Confirm,
    Confirms,
    Deal,
    Envelopes,
    Hello,
    Masked,
    Opened,
    Packet,
    Start,
    Survivors,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import Channel, HeldShares
from wardround_common.secagg.commitments import Secret, ciphertext_digest, commit_share
from wardround_common.secagg.graph import neighbours
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.shamir import is_share
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy, check_cohort
from wardround_common.trust import COORDINATOR


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortView:
    """Who takes part: the names in ascending order, their HELLOs, T1, t and the smallest set of survivors.

    ``neighbours`` are those that this site shares masks with, ``aborts`` who closed which earlier attempt.
    """

    members: tuple[str, ...]
    hellos: Mapping[str, Opened[Hello]]
    t1: bytes
    t: int
    minimum: int
    neighbours: tuple[str, ...]
    aborts: Mapping[int, Collection[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DealtView:
    """Who dealt: the DEALs by name in ascending order, and T2."""

    deals: Mapping[str, Opened[Deal]]
    t2: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SurvivorView:
    """Whose uploads arrived, by name in ascending order, whose did not, and T3."""

    uploads: Mapping[str, Opened[Masked]]
    dropped: tuple[str, ...]
    t3: bytes

    @property
    def survivors(self) -> tuple[str, ...]:
        """Names, ascending."""
        return tuple(self.uploads)


def check_start(start: Packet, terms: RoundTerms, record: ProtocolRecord) -> None:
    """1: the coordinator signed this START, it starts from our state, and nobody accepted another result."""
    claims = read_start(start, sites=len(terms.sites))
    if claims.state != terms.state and record.has_left(claims.state):
        raise refuse("old_state", "the coordinator wants to go back to a state that this site has left")
    if claims.state != terms.state:
        raise refuse("start_state", "the coordinator wants to start from another state than this site's")
    body = terms.wire.open(start.envelope, Start, transcript=terms.t0, sender=COORDINATOR).body
    for data in body.accepts:
        accept = terms.wire.open_past(data, Accept)
        if accept.sender not in accept.body.survivors:
            raise refuse("not_in_accept", f"{accept.sender} accepted a round that it did not survive")
        record.compare(accept)


def check_cohort_message(
    cohort: Packet, terms: RoundTerms, *, site: str, own_hello: bytes, policy: SecAggPolicy
) -> CohortView:
    """2: every HELLO is by a member, ours is unchanged, all start from one state, and we are enough."""
    body = terms.wire.open(cohort.envelope, Cohort, transcript=terms.t0, sender=COORDINATOR).body
    view = view_cohort(body.hellos, terms, site=site, policy=policy, aborts=_aborts(body.aborts, terms))
    if view.hellos[site].data != own_hello:
        raise refuse("own_hello", f"the HELLO of {site} in COHORT is not the one that {site} sent")
    return view


def view_cohort(
    hellos: Iterable[bytes],
    terms: RoundTerms,
    *,
    site: str,
    policy: SecAggPolicy,
    aborts: Mapping[int, Collection[str]],
) -> CohortView:
    """The cohort of these HELLOs, each of them checked; a recorded cohort is read through it too."""
    opened = terms.wire.open_all(hellos, Hello, transcript=terms.t0)
    if site not in opened:
        raise refuse("left_out", f"{site} is not in the cohort")
    for name, hello in opened.items():
        if hello.body.state != terms.state:
            raise refuse("peer_state", f"{name} starts from another state")
    keys = [key for hello in opened.values() for key in (hello.body.channel_key, hello.body.mask_key)]
    if len(set(keys)) != len(keys):
        raise refuse("duplicate_key", "two keys of the cohort are the same")
    minimum = max(policy.minimum_cohort, terms.minimum_cohort)
    t = check_cohort(len(opened), minimum=minimum, max_colluders=policy.max_colluders)
    members = tuple(opened)
    return CohortView(
        members=members,
        hellos=opened,
        t1=transcript.t1(terms.t0, opened),
        t=t,
        minimum=minimum,
        neighbours=neighbours(members, terms.degree)[site],
        aborts=aborts,
    )


def check_envelopes(
    envelopes: Packet,
    terms: RoundTerms,
    cohort: CohortView,
    *,
    own: Opened[Deal],
    channel_key: AgreementKey,
    policy: SecAggPolicy,
) -> tuple[DealtView, dict[str, HeldShares]]:
    """3: enough dealers, all over T1, and every share for us opens the commitment that its dealer signed.

    Returns:
        Who dealt, and the shares that this site holds of each. Those that it dealt to itself are not among
        them; the session has them.
    """
    body = terms.wire.open(envelopes.envelope, Envelopes, transcript=cohort.t1, sender=COORDINATOR).body
    view = view_dealt(body.deals, terms, cohort, policy=policy)
    if own.sender not in view.deals or view.deals[own.sender].data != own.data:
        raise refuse("own_deal", f"the DEAL of {own.sender} in ENVELOPES is not the one that it sent")
    others = [name for name in view.deals if name != own.sender]
    if len(body.ciphertexts) != len(others):
        raise refuse("ciphertext_count", f"expected {len(others)} ciphertexts, got {len(body.ciphertexts)}")
    held = {
        dealer: _open_ciphertext(
            ciphertext, view.deals[dealer], cohort, holder=own.sender, channel_key=channel_key
        )
        for dealer, ciphertext in zip(others, body.ciphertexts, strict=True)
    }
    return view, held


def view_dealt(
    deals: Iterable[bytes], terms: RoundTerms, cohort: CohortView, *, policy: SecAggPolicy
) -> DealtView:
    """The dealers of these DEALs, each of them checked."""
    opened = terms.wire.open_all(deals, Deal, transcript=cohort.t1)
    if len(opened) < (needed := max(cohort.t, cohort.minimum)):
        raise refuse(
            "too_few_dealers", f"expected at least {needed} dealers, got {len(opened)}", retryable=True
        )
    for deal in opened.values():
        check_deal(deal, cohort.members)
    _check_graph(cohort, len(opened), policy=policy, code="dealers_split")
    return DealtView(deals=opened, t2=transcript.t2(cohort.t1, opened))


def check_deal(deal: Opened[Deal], members: tuple[str, ...]) -> None:
    """A DEAL has one commitment per member and one ciphertext per other member."""
    n, body = len(members), deal.body
    if deal.sender not in members:
        raise refuse("not_in_cohort", f"{deal.sender} dealt without being in the cohort")
    if (len(body.key_shares), len(body.seed_shares), len(body.ciphertexts)) != (n, n, n - 1):
        raise refuse("deal_shape", f"{deal.sender} dealt for another number of sites than {n}")


def check_survivors(
    survivors: Packet,
    terms: RoundTerms,
    cohort: CohortView,
    dealt: DealtView,
    *,
    own: bytes,
    policy: SecAggPolicy,
) -> SurvivorView:
    """4: signed uploads over T2, ours among them, of dealers only, and enough to hide in."""
    body = terms.wire.open(survivors.envelope, Survivors, transcript=dealt.t2, sender=COORDINATOR).body
    return view_survivors(body.uploads, terms, cohort, dealt, own=own, policy=policy)


def view_survivors(
    uploads: Iterable[bytes],
    terms: RoundTerms,
    cohort: CohortView,
    dealt: DealtView,
    *,
    own: bytes,
    policy: SecAggPolicy,
) -> SurvivorView:
    """The survivors of these MASKEDs, each of them checked."""
    opened = terms.wire.open_all(uploads, Masked, transcript=dealt.t2)
    if own not in [upload.data for upload in opened.values()]:
        raise refuse("own_upload", "this site's own upload is not among the survivors'")
    if strangers := opened.keys() - dealt.deals.keys():
        raise refuse("not_a_dealer", f"{min(strangers)} survived without having dealt")
    for name, upload in opened.items():
        if upload.body.size != terms.size:
            raise refuse("peer_size", f"{name} sent {upload.body.size} numbers instead of {terms.size}")
    if len(opened) < (needed := max(cohort.t, cohort.minimum)):
        raise refuse("too_few_uploads", f"expected at least {needed} survivors, got {len(opened)}")
    _check_graph(cohort, len(opened), policy=policy, code="survivors_split")
    return SurvivorView(
        uploads=opened,
        dropped=tuple(name for name in dealt.deals if name not in opened),
        t3=transcript.t3(dealt.t2, opened),
    )


def check_confirms(confirms: Packet, terms: RoundTerms, *, t: int, view: SurvivorView) -> None:
    """5: at least t distinct survivors confirmed exactly the set that we confirmed."""
    body = terms.wire.open(confirms.envelope, Confirms, transcript=view.t3, sender=COORDINATOR).body
    confirmed = terms.wire.open_all(body.confirms, Confirm, transcript=view.t3)
    if strangers := confirmed.keys() - view.uploads.keys():
        raise refuse("not_a_survivor", f"{min(strangers)} confirmed without having survived")
    if len(confirmed) < t:
        raise refuse("too_few_confirms", f"expected at least {t} confirmations, got {len(confirmed)}")


def _aborts(envelopes: Iterable[bytes], terms: RoundTerms) -> dict[int, set[str]]:
    """Who said ABORT of which earlier attempt at this round; in ascending order, nobody twice."""
    found: dict[int, set[str]] = {}
    last = (0, "")
    for data in envelopes:
        abort = terms.wire.open_abort(data)
        place = (abort.context.attempt, abort.sender)
        if place <= last:
            raise refuse(
                "abort_order", "the ABORTs are not in ascending order, or one of them is there twice"
            )
        found.setdefault(abort.context.attempt, set()).add(abort.sender)
        last = place
    return found


def _check_graph(cohort: CohortView, left: int, *, policy: SecAggPolicy, code: str) -> None:
    """The honest sites that are left hang together: dropped sites and colluders are fewer than the degree."""
    degree, gone = len(cohort.neighbours), len(cohort.members) - left
    if gone + policy.max_colluders >= degree:
        raise refuse(
            code,
            f"{gone} sites are gone and {policy.max_colluders} may collude: with {degree} neighbours each, "
            f"those that are left may fall apart",
        )


def _open_ciphertext(
    ciphertext: bytes, deal: Opened[Deal], cohort: CohortView, *, holder: str, channel_key: AgreementKey
) -> HeldShares:
    dealer, members = deal.sender, cohort.members
    peers = [name for name in members if name != dealer]
    if ciphertext_digest(ciphertext) != deal.body.ciphertexts[peers.index(holder)]:
        raise refuse("ciphertext_altered", f"the ciphertext is not the one that {dealer} signed")
    secret = channel_key.agree(cohort.hellos[dealer].body.channel_key, peer=dealer)
    channel = Channel(secret=secret, transcript=cohort.t1, sender=dealer, recipient=holder)
    shares = channel.open(ciphertext)
    _check_share("mask key", shares.mask_key, deal, cohort, holder=holder)
    _check_share("seed", shares.seed, deal, cohort, holder=holder)
    return shares


def _check_share(of: Secret, share: bytes, deal: Opened[Deal], cohort: CohortView, *, holder: str) -> None:
    commitments = deal.body.seed_shares if of == "seed" else deal.body.key_shares
    found = commit_share(cohort.t1, of=of, dealer=deal.sender, holder=holder, share=share)
    if not is_share(share) or found != commitments[cohort.members.index(holder)]:
        raise refuse("wrong_share", f"the share of its {of} that {deal.sender} dealt to {holder} is wrong")
