"""Every reason for which secure aggregation refuses to go on, with what to do about it.

``REMEDIES`` is the list of all ``secagg.*`` codes that this package and the two state machines raise.

Not here: reasons to refuse a single message unread (``messages.envelope``).

Privacy: messages name institutions, rounds and numbers of sites; never a value of a vector or a share.
"""

from __future__ import annotations

from typing import Final

from wardround_common.errors import SecAggError

_ASK: Final = "Stop the study and ask the coordinator's operator; keep this site's log as evidence."
_WAIT: Final = "Wait until the missing sites are back; the round starts again by itself."
_VOID: Final = "Nothing: the round is void, its spend stays, and the next round starts from the same state."

REMEDIES: Final = {
    # who may take part
    "cohort_too_small": "Wait for more sites, or lower minimum_cohort if the site's policy permits.",
    "too_many_colluders": "Wait for more sites, or lower max_colluders in the site's policy.",
    "too_few_honest": "Wait for more sites, or lower max_colluders in the site's policy.",
    # what the coordinator said
    "order": "Check that both ends run the same version of Wardround; messages came in the wrong order.",
    "start_state": "Compare the state digests of this site and the coordinator; nothing was sent.",
    "old_state": _ASK,
    "old_round": "Nothing if it is rare; else ask the coordinator's operator why it repeats rounds.",
    "old_attempt": "Nothing if it is rare; else ask the coordinator's operator why it repeats attempts.",
    "other_kind": _ASK,
    "other_start": _ASK,
    "round_closed": "Nothing if it is rare; else ask the coordinator's operator why it repeats rounds.",
    "aborted": "Nothing: this site has given up this attempt; it takes part in the next one.",
    "abort_after_open": "Nothing: this site has opened the round; the coordinator must finish it.",
    "already_opened": "Nothing: this site's update may be in a sum already; it takes part in the next round.",
    "not_aborted": "Wait until enough sites of the earlier attempt are back; they must abort it first.",
    "aborted_elsewhere": _ASK,
    "superseded": "Nothing: a later attempt or round has begun at this site.",
    "not_in_accept": _ASK,
    "fork": "The study is paused: two sites accepted different results. Keep the record; call the lead.",
    "two_void_rounds": "The study is paused here: find out why rounds come to nothing, then settle it.",
    "own_key": "Compare fingerprints with the authority: the roster names another key for this site.",
    "link_disagrees": _ASK,
    "link_outsider": _ASK,
    "link_too_thin": "Wait until more sites have accepted the rounds that this site missed.",
    "link_old": _ASK,
    "link_gap": _ASK,
    "link_short": _ASK,
    "state_missing": "Check that both ends run the same version of Wardround.",
    "state_altered": "Ask the coordinator to send the state again; this one was altered.",
    "left_out": _WAIT,
    "own_hello": _ASK,
    "abort_order": "Check that both ends run the same version of Wardround.",
    "peer_state": "Find out why this site starts from another state; it must rejoin first.",
    "duplicate_key": "Find out why two sites sent one key; one of them copies the other.",
    "weak_key": "Find out why this site sent a key that protects nothing.",
    "own_deal": _ASK,
    "not_in_cohort": _ASK,
    "deal_shape": "Install the same version of Wardround at this site; it dealt for another cohort.",
    "too_few_dealers": _WAIT,
    "dealers_split": _WAIT,
    "ciphertext_count": "Check that both ends run the same version of Wardround.",
    "ciphertext_altered": "Find out who altered the ciphertext on its way; its dealer signed another one.",
    "bad_ciphertext": "Find out why this dealer signed a ciphertext that its recipient cannot open.",
    "wrong_share": "Find out why this site sent a share that does not open its commitment.",
    "bad_vector": "Report this to the developers: the update does not have the shape of the plan's model.",
    "masked_twice": "Nothing: this site sends one masked update per attempt.",
    "own_upload": _ASK,
    "not_a_dealer": _ASK,
    "peer_size": "Find out why this site sent a vector of another length than the plan's model.",
    "survivors_split": _VOID,
    "too_few_uploads": _VOID,
    "confirmed_otherwise": _ASK,
    "not_a_survivor": _ASK,
    "too_few_confirms": _VOID,
    "opened_otherwise": _ASK,
    "result_size": "Ask the coordinator to send the result again; this one has another length.",
    "result_digest": "Ask the coordinator to send the result again; this one was altered.",
    "opens_unasked": "Check that both ends run the same version of Wardround.",
    "uploads_size": "Ask the coordinator to send the result again; uploads are missing.",
    "upload_altered": _ASK,
    "not_an_opener": _ASK,
    "too_few_opens_shown": "Ask the coordinator to send the result again; OPENs are missing.",
    "sum_differs": _ASK,
    "sum_out_of_range": "Look for a site with broken software: the round is void.",
    "accepted_otherwise": _ASK,
    # what the coordinator noticed
    "answered_twice": "Look at this site's connection and version: it answered one request twice.",
    "not_asked": "Look at this site's version: it answered a request that it was not sent.",
    "upload_size": "Look at this site's version: its upload has another length than the plan's model.",
    "upload_shape": "Look at this site's connection and version: no vector came with its upload.",
    "upload_digest": "Look at this site's connection: its upload was altered, or is not what it signed.",
    "accept_survivors": "Look at this site's version: it accepted a sum over other sites.",
    "accept_start": "Look at this site's version: it accepted a round from another start.",
    "accept_next": "Compare versions: this site computed another outcome from the same sum.",
    "too_few_aborts": "Wait until the missing sites are back: the round can neither end nor be tried again.",
    "not_accepted": "Look at the sites' error codes; the next round starts from the last accepted state.",
    "bad_sum": "Look for a site with broken software: the round is void.",
    "open_shape": "Look at this site's version: it opened another set than the confirmed one.",
    "wrong_opened_share": "Find out why this site opened a share that was not dealt to it.",
    "too_few_opens": _VOID,
    "unrecoverable": "Find out why this site dealt shares that do not fit together; the round is void.",
    # numbers
    "not_finite": "Lower the learning rate or look for broken input: the update is not a number.",
    "out_of_range": "Report this to the developers: a count is too large for the ring.",
}


def refuse(what: str, message: str, *, retryable: bool = False) -> SecAggError:
    """The error ``secagg.<what>``, to be raised by the caller.

    Args:
        what: A key of ``REMEDIES``.
        message: What was expected and what was found.
        retryable: The attempt failed before any site can have sent its masked vector: another attempt
            costs nothing.
    """
    return SecAggError(message, remedy=REMEDIES[what], code=f"secagg.{what}", retryable=retryable)
