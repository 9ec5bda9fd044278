"""6: the sum that a RESULT brings, verified: as the coordinator signed it, or recomputed from all uploads.

Under ``verify = full`` RESULT carries the masked vectors and the OPENs of the round instead of the sum. Every
vector is held against the digest that its site signed before anything was opened, every share against its
dealer's commitment, and the masks are taken off here: the coordinator's arithmetic is not trusted. Otherwise
the sum is the coordinator's word; a lie in it is told to every site alike, or it is a fork, which shows.

Not here: what the sum leads to.

Privacy: as in the coordinator, sums over the survivors and nothing less.

References: Bonawitz et al. 2017, figure 4, round 4.
"""

from __future__ import annotations

import numpy as np

from wardround_client.secagg.checks import CohortView, DealtView, SurvivorView
from wardround_common.messages import Open, Packet, Result
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, exceeds, is_vector, vector_digest
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.unmasking import Opening, check_open, unmask
from wardround_common.trust import COORDINATOR


def check_result(
    result: Packet,
    terms: RoundTerms,
    *,
    cohort: CohortView,
    dealt: DealtView,
    view: SurvivorView,
    bound: int,
) -> Ring:
    """The verified sum, of the right length and no larger than honest uploads can make.

    Raises:
        ProtocolError: The message itself, or ``secagg.result_size``, ``secagg.result_digest``,
            ``secagg.opens_unasked``, ``secagg.sum_out_of_range``; under ``verify = full``
            ``secagg.not_an_opener``, ``secagg.too_few_opens_shown``, ``secagg.uploads_size``,
            ``secagg.upload_altered``, ``secagg.sum_differs`` and those of ``check_open`` and ``unmask``.
    """
    body = terms.wire.open(result.envelope, Result, transcript=view.t3, sender=COORDINATOR).body
    if body.size != terms.size:
        raise refuse("result_size", f"expected a sum of {terms.size} numbers, got {body.size}")
    if terms.verify_full:
        total = _recomputed(result, body, terms, cohort=cohort, dealt=dealt, view=view)
    else:
        total = _stated(result, body, terms)
    if exceeds(total, bound):
        raise refuse("sum_out_of_range", f"a coordinate of the sum exceeds {bound} levels")
    return total


def _stated(result: Packet, body: Result, terms: RoundTerms) -> Ring:
    array = result.array
    if body.opens:
        raise refuse("opens_unasked", "the plan has the coordinator send the sum alone")
    if array is None or not is_vector(array, terms.size, terms.word):
        raise refuse("result_size", f"expected a sum of {terms.size} numbers beside RESULT")
    if vector_digest(array) != body.digest:
        raise refuse("result_digest", "the sum is not the one that the coordinator signed")
    return array


def _recomputed(
    result: Packet,
    body: Result,
    terms: RoundTerms,
    *,
    cohort: CohortView,
    dealt: DealtView,
    view: SurvivorView,
) -> Ring:
    opens = terms.wire.open_all(body.opens, Open, transcript=view.t3)
    if strangers := opens.keys() - view.uploads.keys():
        raise refuse("not_an_opener", f"{min(strangers)} opened without having survived")
    if len(opens) < cohort.t:
        raise refuse("too_few_opens_shown", f"expected at least {cohort.t} OPENs, got {len(opens)}")
    opening = Opening(
        context=terms.context,
        t1=cohort.t1,
        t=cohort.t,
        hellos=cohort.hellos,
        deals=dealt.deals,
        survivors=view.survivors,
        degree=terms.degree,
        cipher=terms.cipher,
    )
    for opened in opens.values():
        check_open(opened, opening)
    total = _added(result, terms, view)
    unmask(total, opening, {name: opened.body for name, opened in opens.items()}, blamed={})
    if vector_digest(total) != body.digest:
        raise refuse("sum_differs", "the uploads add up to another sum than the coordinator signed")
    return total


def _added(result: Packet, terms: RoundTerms, view: SurvivorView) -> Ring:
    """The sum of the uploads, each of which is the one that its site signed."""
    array = result.array
    if array is None or not is_vector(array, terms.size * len(view.uploads), terms.word):
        raise refuse("uploads_size", f"expected {len(view.uploads)} vectors of {terms.size} numbers")
    total = np.zeros(terms.size, dtype=terms.word)
    for vector, (name, upload) in zip(array.reshape(-1, terms.size), view.uploads.items(), strict=True):
        if vector_digest(vector) != upload.body.digest:
            raise refuse("upload_altered", f"the vector of {name} is not the one that it signed")
        np.add(total, vector, out=total)
    return total
