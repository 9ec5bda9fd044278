"""What a site checks about the coordinator's messages before it answers: bytes in, verified views out.

One function per exchange. Each raises for the first check that fails and changes nothing; the session acts
only on what they return. The numbers are those of the six exchanges.

Not here: what was said before and must not be contradicted (``record``), keys and answers (``session``).

Privacy: reads only what others sent.

References: ARCHITECTURE.md, "A round, message by message", last column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wardround_client.secagg.announcement import read_start
from wardround_client.secagg.record import ProtocolRecord
from wardround_common.messages import (
    Cohort,
    Confirm,
    Confirms,
    Deal,
    Envelopes,
    Hello,
    Masked,
    Opened,
    Packet,
    Result,
    Start,
    Survivors,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import Channel, HeldShares
from wardround_common.secagg.commitments import Secret, ciphertext_digest, commit_share
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, exceeds, is_vector, vector_digest
from wardround_common.secagg.shamir import is_share
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy, check_cohort
from wardround_common.trust import COORDINATOR


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortView:
    """Who takes part: the names in ascending order, their HELLOs, T1, t and the smallest set of survivors."""

    members: tuple[str, ...]
    hellos: Mapping[str, Opened[Hello]]
    t1: bytes
    t: int
    minimum: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DealtView:
    """Who dealt: the names in ascending order, the shares that this site holds of each, and T2."""

    dealers: tuple[str, ...]
    held: Mapping[str, HeldShares]
    t2: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SurvivorView:
    """Whose uploads arrived, whose did not, and T3."""

    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    t3: bytes


def check_start(start: Packet, terms: RoundTerms, record: ProtocolRecord) -> None:
    """1: the coordinator signed this START, it starts from our state, and nobody accepted another result."""
    claims = read_start(start, sites=len(terms.sites))
    if claims.state != terms.state:
        raise refuse("start_state", "the coordinator wants to start from another state than this site's")
    body = terms.wire.open(start.envelope, Start, transcript=terms.t0, sender=COORDINATOR).body
    for data in body.accepts:
        accept = terms.wire.open_accept(data)
        if accept.sender not in accept.body.survivors:
            raise refuse("not_in_accept", f"{accept.sender} accepted a round that it did not survive")
        record.compare(accept)


def check_cohort_message(
    cohort: Packet, terms: RoundTerms, *, site: str, own_hello: bytes, policy: SecAggPolicy
) -> CohortView:
    """2: every HELLO is by a member, ours is unchanged, all start from one state, and we are enough."""
    wire, t0 = terms.wire, terms.t0
    body = wire.open(cohort.envelope, Cohort, transcript=t0, sender=COORDINATOR).body
    hellos = wire.open_all(body.hellos, Hello, transcript=t0)
    if site not in hellos or hellos[site].data != own_hello:
        raise refuse("own_hello", f"the HELLO of {site} in COHORT is not the one that {site} sent")
    for name, hello in hellos.items():
        if hello.body.state != terms.state:
            raise refuse("peer_state", f"{name} starts from another state")
    keys = [key for hello in hellos.values() for key in (hello.body.channel_key, hello.body.mask_key)]
    if len(set(keys)) != len(keys):
        raise refuse("duplicate_key", "two keys of the cohort are the same")
    minimum = max(policy.minimum_cohort, terms.minimum_cohort)
    t = check_cohort(len(hellos), minimum=minimum, max_colluders=policy.max_colluders)
    members = tuple(hellos)
    return CohortView(members=members, hellos=hellos, t1=transcript.t1(t0, hellos), t=t, minimum=minimum)


def check_envelopes(
    envelopes: Packet, terms: RoundTerms, cohort: CohortView, *, own: Opened[Deal], channel_key: AgreementKey
) -> DealtView:
    """3: enough dealers, all over T1, and every share for us opens the commitment that its dealer signed.

    The shares that this site dealt to itself are not among those held; the session has them.
    """
    body = terms.wire.open(envelopes.envelope, Envelopes, transcript=cohort.t1, sender=COORDINATOR).body
    deals = terms.wire.open_all(body.deals, Deal, transcript=cohort.t1)
    if own.sender not in deals or deals[own.sender].data != own.data:
        raise refuse("own_deal", f"the DEAL of {own.sender} in ENVELOPES is not the one that it sent")
    if len(deals) < (needed := max(cohort.t, cohort.minimum)):
        raise refuse(
            "too_few_dealers", f"expected at least {needed} dealers, got {len(deals)}", retryable=True
        )
    others = [name for name in deals if name != own.sender]
    if len(body.ciphertexts) != len(others):
        raise refuse("ciphertext_altered", f"expected {len(others)} ciphertexts, got {len(body.ciphertexts)}")
    held = {}
    for dealer, ciphertext in zip(others, body.ciphertexts, strict=True):
        check_deal(deals[dealer], cohort.members)
        held[dealer] = _open_ciphertext(
            ciphertext, deals[dealer], cohort, holder=own.sender, channel_key=channel_key
        )
    return DealtView(dealers=tuple(deals), held=held, t2=transcript.t2(cohort.t1, deals))


def check_deal(deal: Opened[Deal], members: tuple[str, ...]) -> None:
    """A DEAL has one commitment per member and one ciphertext per other member."""
    n, body = len(members), deal.body
    if deal.sender not in members:
        raise refuse("deal_shape", f"{deal.sender} dealt without being in the cohort")
    if (len(body.key_shares), len(body.seed_shares), len(body.ciphertexts)) != (n, n, n - 1):
        raise refuse("deal_shape", f"{deal.sender} dealt for another number of sites than {n}")


def check_survivors(
    survivors: Packet, terms: RoundTerms, cohort: CohortView, dealt: DealtView, *, own: bytes
) -> SurvivorView:
    """4: signed uploads over T2, ours among them, of dealers only, and enough to hide in."""
    body = terms.wire.open(survivors.envelope, Survivors, transcript=dealt.t2, sender=COORDINATOR).body
    uploads = terms.wire.open_all(body.uploads, Masked, transcript=dealt.t2)
    if own not in body.uploads:
        raise refuse("own_upload", "this site's own upload is not among the survivors'")
    if strangers := uploads.keys() - set(dealt.dealers):
        raise refuse("not_a_dealer", f"{min(strangers)} survived without having dealt")
    if len(uploads) < (needed := max(cohort.t, cohort.minimum)):
        raise refuse("too_few_uploads", f"expected at least {needed} survivors, got {len(uploads)}")
    return SurvivorView(
        survivors=tuple(uploads),
        dropped=tuple(name for name in dealt.dealers if name not in uploads),
        t3=transcript.t3(dealt.t2, uploads),
    )


def check_confirms(confirms: Packet, terms: RoundTerms, *, t: int, view: SurvivorView) -> None:
    """5: at least t distinct survivors confirmed exactly the set that we confirmed."""
    body = terms.wire.open(confirms.envelope, Confirms, transcript=view.t3, sender=COORDINATOR).body
    confirmed = terms.wire.open_all(body.confirms, Confirm, transcript=view.t3)
    if strangers := confirmed.keys() - set(view.survivors):
        raise refuse("not_a_survivor", f"{min(strangers)} confirmed without having survived")
    if len(confirmed) < t:
        raise refuse("too_few_confirms", f"expected at least {t} confirmations, got {len(confirmed)}")


def check_result(result: Packet, terms: RoundTerms, *, t3: bytes, bound: int) -> Ring:
    """6: a sum of the right length, as signed by the coordinator, no larger than honest uploads can make."""
    body = terms.wire.open(result.envelope, Result, transcript=t3, sender=COORDINATOR).body
    array = result.array
    if array is None or not is_vector(array, terms.size, terms.word) or body.size != terms.size:
        raise refuse("bad_result", f"expected a sum of {terms.size} numbers")
    if vector_digest(array) != body.digest:
        raise refuse("bad_result", "the sum is not the one that the coordinator signed")
    if exceeds(array, bound):
        raise refuse("bad_result", f"a coordinate of the sum exceeds {bound} levels")
    return array


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
