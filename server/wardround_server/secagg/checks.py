"""What the coordinator checks about a reply, beyond its signature, before it takes it.

These checks protect the round from broken or dishonest *sites*: whoever fails one has not answered. What
protects a site from the coordinator is checked by the site.

Not here: who may answer what, and when (``session``).

Privacy: reads messages only.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wardround_common.messages import Accept, Deal, Hello, Masked, Opened
from wardround_common.secagg.agreement import check_public
from wardround_common.secagg.commitments import ciphertext_digest
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, is_vector, vector_digest
from wardround_common.secagg.terms import RoundTerms


def check_sender(site: str, asked: Iterable[str], answered: Mapping[str, object]) -> None:
    """Any: a site that was asked, and has not answered."""
    if site not in asked:
        raise refuse("not_asked", f"{site} was not asked in this exchange")
    if site in answered:
        raise refuse("answered_twice", f"{site} has answered already")


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
    """3: the vector that was signed, of the right length and type."""
    size, word = terms.size, terms.word
    if upload.body.size != size:
        raise refuse("upload_size", f"{upload.sender} signed {upload.body.size} numbers, expected {size}")
    if not is_vector(array, size, word):
        raise refuse("upload_shape", f"{upload.sender}: expected {size} numbers of {word} beside MASKED")
    if vector_digest(array) != upload.body.digest:
        raise refuse("upload_digest", f"the vector of {upload.sender} is not the one that it signed")
    return array


def check_total(total: object, *, terms: RoundTerms) -> Ring:
    """3: a checkpoint of the sum, of the right length and type."""
    if not is_vector(total, terms.size, terms.word):
        raise refuse("upload_shape", f"expected a sum of {terms.size} numbers of {terms.word}")
    return total


def check_accept(accept: Opened[Accept], expected: Accept) -> None:
    """6: the round as the coordinator itself computed it."""
    site, body = accept.sender, accept.body
    if body.survivors != expected.survivors:
        raise refuse("accept_survivors", f"{site} accepted a sum over other sites than those that survived")
    if body.start != expected.start:
        raise refuse("accept_start", f"{site} accepted a round from another start than this one's")
    if body.next != expected.next:
        raise refuse("accept_next", f"{site} accepted another outcome than the coordinator computed")
