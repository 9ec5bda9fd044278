"""The secrets of one attempt at a site: made for HELLO, dealt out in DEAL, turned into masks for MASKED.

Not here: when (``session``).

Privacy: secrets stay in memory; what leaves are public keys, commitments and sealed shares.

References: ARCHITECTURE.md, "A round, message by message", 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from wardround_client.secagg.checks import CohortView
from wardround_common.messages import Deal, Hello, Opened, RoundContext
from wardround_common.secagg import shamir
from wardround_common.secagg.agreement import KEY_BYTES, AgreementKey
from wardround_common.secagg.channel import Channel, HeldShares
from wardround_common.secagg.commitments import ciphertext_digest, commit_seed, commit_share
from wardround_common.secagg.masks import Mask, pair_mask, self_mask


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class AttemptKeys:
    """One site's secrets of one attempt.

    Attributes:
        channel: Agrees on the keys under which shares are sealed.
        mask: Agrees on the seeds of pairwise masks; its secret is shared out.
        seed: Of the self mask; shared out.
    """

    channel: AgreementKey
    mask: AgreementKey
    seed: bytes

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> AttemptKeys:
        """Fresh secrets."""
        return cls(
            channel=AgreementKey(entropy(KEY_BYTES)),
            mask=AgreementKey(entropy(KEY_BYTES)),
            seed=entropy(shamir.SECRET_BYTES),
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Dealt:
    """What a site deals: the signed part, the ciphertexts beside it, and the shares it keeps for itself."""

    body: Deal
    ciphertexts: tuple[bytes, ...]
    own: HeldShares


def deal_out(keys: AttemptKeys, cohort: CohortView, *, dealer: str, entropy: Callable[[int], bytes]) -> Dealt:
    """2: split mask key and seed among the cohort, commit to every share, seal those for the others.

    Raises:
        SecAggError: ``secagg.weak_key`` naming the peer.
    """
    n = len(cohort.members)
    key_shares = shamir.split(keys.mask.secret, threshold=cohort.t, count=n, entropy=entropy)
    seed_shares = shamir.split(keys.seed, threshold=cohort.t, count=n, entropy=entropy)
    shares = {
        name: HeldShares(mask_key=key, seed=seed)
        for name, key, seed in zip(cohort.members, key_shares, seed_shares, strict=True)
    }
    ciphertexts = _seal_all(shares, keys, cohort, dealer=dealer)
    body = Deal(
        commit_seed(cohort.t1, dealer=dealer, seed=keys.seed),
        tuple(
            commit_share(cohort.t1, of="mask key", dealer=dealer, holder=name, share=held.mask_key)
            for name, held in shares.items()
        ),
        tuple(
            commit_share(cohort.t1, of="seed", dealer=dealer, holder=name, share=held.seed)
            for name, held in shares.items()
        ),
        tuple(ciphertext_digest(ciphertext) for ciphertext in ciphertexts),
    )
    return Dealt(body=body, ciphertexts=ciphertexts, own=shares[dealer])


def all_masks(
    keys: AttemptKeys,
    context: RoundContext,
    hellos: Mapping[str, Opened[Hello]],
    *,
    site: str,
    peers: Iterable[str],
) -> list[Mask]:
    """3: the self mask, and one mask for each peer.

    Args:
        keys: Of this attempt.
        context: The attempt.
        hellos: Of the cohort.
        site: This site.
        peers: Its neighbours in the mask graph that dealt.

    Raises:
        SecAggError: ``secagg.weak_key`` naming the peer.
    """
    masks = [self_mask(keys.seed, context, site=site)]
    for peer in peers:
        secret = keys.mask.agree(hellos[peer].body.mask_key, peer=peer)
        masks.append(pair_mask(secret, context, site=site, peer=peer))
    return masks


def _seal_all(
    shares: Mapping[str, HeldShares], keys: AttemptKeys, cohort: CohortView, *, dealer: str
) -> tuple[bytes, ...]:
    ciphertexts = []
    for name, held in shares.items():
        if name != dealer:
            secret = keys.channel.agree(cohort.hellos[name].body.channel_key, peer=name)
            channel = Channel(secret=secret, transcript=cohort.t1, sender=dealer, recipient=name)
            ciphertexts.append(channel.seal(held))
    return tuple(ciphertexts)
