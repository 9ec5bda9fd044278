"""Taking the masks off the sum, once enough sites have opened it.

The survivors' self masks are in the sum, and so are the halves that survivors put on for their pairs with
sites that dropped after dealing: both are computed again from the recovered secrets and taken off.

The coordinator does it with the OPENs that it received, and under ``verify = full`` every site does it again.

Not here: signatures (the state machines), subsets of shares (``recovery``).

Privacy: recovers one secret of each dealer, the seed or the mask key and never both.

References: Bonawitz et al. 2017, figure 4, round 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wardround_common.messages import Deal, Hello, Open, Opened, RoundContext
from wardround_common.plan_parts import CipherName
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.commitments import Secret, commit_seed, commit_share
from wardround_common.secagg.graph import neighbours
from wardround_common.secagg.masks import Mask, apply_masks, pair_mask, self_mask
from wardround_common.secagg.recovery import is_consistent, recover
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring
from wardround_common.secagg.shamir import is_share


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """What is being opened: the cohort, what its members dealt, and which of them survived.

    Attributes:
        context: The attempt.
        t1: The transcript that commitments are made over.
        t: Shares needed.
        hellos: HELLOs of the cohort, by name in ascending order.
        deals: DEALs of the dealers, likewise.
        survivors: Whose uploads are in the sum, likewise.
        degree: Of the mask graph.
        cipher: Of the masks.
    """

    context: RoundContext
    t1: bytes
    t: int
    hellos: Mapping[str, Opened[Hello]]
    deals: Mapping[str, Opened[Deal]]
    survivors: tuple[str, ...]
    degree: int
    cipher: CipherName

    @property
    def dropped(self) -> tuple[str, ...]:
        """Dealers whose uploads did not arrive."""
        return tuple(name for name in self.deals if name not in self.survivors)

    def place(self, name: str) -> int:
        """Where a member stands in the cohort, from 0."""
        return tuple(self.hellos).index(name)

    def commitment(self, of: Secret, *, dealer: str, holder: str) -> bytes:
        """What ``dealer`` signed about the share that ``holder`` has."""
        body = self.deals[dealer].body
        return (body.seed_shares if of == "seed" else body.key_shares)[self.place(holder)]


def check_open(opened: Opened[Open], opening: Opening) -> None:
    """Return only if an OPEN has one share per dealer, each opening the commitment that its dealer signed.

    Raises:
        SecAggError: ``secagg.open_shape`` or ``secagg.wrong_opened_share``, naming the site that opened.
    """
    _check_shares("seed", opening.survivors, opened.body.seed_shares, opening, holder=opened.sender)
    _check_shares("mask key", opening.dropped, opened.body.key_shares, opening, holder=opened.sender)


def _check_shares(
    of: Secret, dealers: tuple[str, ...], shares: tuple[bytes, ...], opening: Opening, *, holder: str
) -> None:
    if len(shares) != len(dealers):
        raise refuse("open_shape", f"{holder}: expected {len(dealers)} shares of a {of}, got {len(shares)}")
    for dealer, share in zip(dealers, shares, strict=True):
        found = commit_share(opening.t1, of=of, dealer=dealer, holder=holder, share=share)
        if not is_share(share) or found != opening.commitment(of, dealer=dealer, holder=holder):
            raise refuse(
                "wrong_opened_share", f"{holder} opened a share of {dealer}'s {of} that was not dealt"
            )


def unmask(total: Ring, opening: Opening, opens: Mapping[str, Open], *, blamed: dict[str, str]) -> None:
    """Take all remaining masks off ``total``, in place.

    Args:
        total: Sum of the survivors' masked vectors.
        opening: What is being opened.
        opens: At least t OPENs by the site that sent them, their shares checked.
        blamed: Gets the name of each dealer whose shares do not fit together.

    Raises:
        SecAggError: ``secagg.unrecoverable`` naming the dealer; ``total`` is then as it was.
    """
    masks: list[Mask] = []
    for order, name in enumerate(opening.survivors):
        shares = {opening.place(holder) + 1: body.seed_shares[order] for holder, body in opens.items()}
        masks.append(_self_mask(name, shares, opening, blamed))
    for order, name in enumerate(opening.dropped):
        shares = {opening.place(holder) + 1: body.key_shares[order] for holder, body in opens.items()}
        masks.extend(_pair_masks(name, shares, opening, blamed))
    apply_masks(total, [mask.removed for mask in masks], cipher=opening.cipher)


def _self_mask(name: str, shares: Mapping[int, bytes], opening: Opening, blamed: dict[str, str]) -> Mask:
    commitment = opening.deals[name].body.seed_commitment

    def fits(seed: bytes) -> bool:
        return commit_seed(opening.t1, dealer=name, seed=seed) == commitment

    seed = _recover(name, shares, opening, fits=fits, blamed=blamed)
    return self_mask(seed, opening.context, site=name)


def _pair_masks(
    name: str, shares: Mapping[int, bytes], opening: Opening, blamed: dict[str, str]
) -> list[Mask]:
    public = opening.hellos[name].body.mask_key

    def fits(secret: bytes) -> bool:
        return AgreementKey(secret).public == public

    key = AgreementKey(_recover(name, shares, opening, fits=fits, blamed=blamed))
    masks = []
    linked = neighbours(tuple(opening.hellos), opening.degree)[name]
    for survivor in (peer for peer in opening.survivors if peer in linked):
        secret = key.agree(opening.hellos[survivor].body.mask_key, peer=survivor)
        masks.append(pair_mask(secret, opening.context, site=survivor, peer=name))
    return masks


def _recover(
    dealer: str,
    shares: Mapping[int, bytes],
    opening: Opening,
    *,
    fits: Callable[[bytes], bool],
    blamed: dict[str, str],
) -> bytes:
    secret = recover(shares, threshold=opening.t, fits=fits)
    if secret is None or not is_consistent(shares, secret, threshold=opening.t):
        blamed[dealer] = "secagg.wrong_share"
    if secret is None:
        raise refuse(
            "unrecoverable", f"the shares that {dealer} dealt do not give the secret it committed to"
        )
    return secret
