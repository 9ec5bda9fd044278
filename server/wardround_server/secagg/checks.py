"""What the coordinator checks about a reply, beyond its signature, before it takes it.

These checks protect the round from broken or dishonest *sites*: whoever fails one has not answered. What
protects a site from the coordinator is checked by the site.

Not here: who may answer what, and when (``session``).

Privacy: reads messages only.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from collections.abc import Mapping

from wardround_common.messages import Deal, Hello, Masked, Open, Opened
from wardround_common.secagg.agreement import check_public
from wardround_common.secagg.commitments import Secret, ciphertext_digest, commit_share
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, is_vector, vector_digest
from wardround_common.secagg.shamir import is_share
from wardround_common.secagg.terms import RoundTerms
from wardround_server.secagg.unmasking import Opening


def check_hello(hello: Opened[Hello], terms: RoundTerms, others: Mapping[str, Opened[Hello]]) -> None:
    """1: the state of this round, and two keys that protect and that nobody else has sent."""
    if hello.body.state != terms.state:
        raise refuse("peer_state", f"{hello.sender} starts from another state")
    keys = {hello.body.channel_key, hello.body.mask_key}
    for key in keys:
        check_public(key, owner=hello.sender)
    taken = {key for other in others.values() for key in (other.body.channel_key, other.body.mask_key)}
    if len(keys) < 2 or keys & taken:
        raise refuse("duplicate_key", f"{hello.sender} sent a key that is not its own alone")


def check_deal(deal: Opened[Deal], ciphertexts: tuple[bytes, ...], members: tuple[str, ...]) -> None:
    """2: one commitment per member, and the ciphertexts that were signed."""
    n, body = len(members), deal.body
    if (len(body.key_shares), len(body.seed_shares), len(body.ciphertexts)) != (n, n, n - 1):
        raise refuse("deal_shape", f"{deal.sender} dealt for another number of sites than {n}")
    if tuple(ciphertext_digest(ciphertext) for ciphertext in ciphertexts) != body.ciphertexts:
        raise refuse("ciphertext_altered", f"the ciphertexts of {deal.sender} are not those that it signed")


def check_upload(upload: Opened[Masked], array: object, *, terms: RoundTerms) -> Ring:
    """3: the vector that was signed, of the right length."""
    if not is_vector(array, terms.size, terms.word) or upload.body.size != terms.size:
        raise refuse("bad_upload", f"{upload.sender}: expected a {terms.word} vector of {terms.size} numbers")
    if vector_digest(array) != upload.body.digest:
        raise refuse("bad_upload", f"the vector of {upload.sender} is not the one that it signed")
    return array


def check_open(opened: Opened[Open], opening: Opening) -> None:
    """5: one share per dealer, each opening the commitment that its dealer signed."""
    _check_shares("seed", opening.survivors, opened.body.seed_shares, opening, holder=opened.sender)
    _check_shares("mask key", opening.dropped, opened.body.key_shares, opening, holder=opened.sender)


def _check_shares(
    of: Secret, dealers: tuple[str, ...], shares: tuple[bytes, ...], opening: Opening, *, holder: str
) -> None:
    if len(shares) != len(dealers):
        raise refuse("bad_open", f"{holder}: expected {len(dealers)} shares of a {of}, got {len(shares)}")
    for dealer, share in zip(dealers, shares, strict=True):
        found = commit_share(opening.t1, of=of, dealer=dealer, holder=holder, share=share)
        if not is_share(share) or found != opening.commitment(of, dealer=dealer, holder=holder):
            raise refuse("wrong_share", f"{holder} opened a share of {dealer}'s {of} that was not dealt")
