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
    "old_round": "Nothing if it is rare; else ask the coordinator's operator why it repeats rounds.",
    "old_attempt": "Nothing if it is rare; else ask the coordinator's operator why it repeats attempts.",
    "other_kind": _ASK,
    "already_masked": "Nothing: this site sends its update once; the round is void for it.",
    "already_opened": "Nothing: this site's update may be in a sum already; it takes part in the next round.",
    "not_aborted": "Wait until enough sites of the earlier attempt are back; they must abort it first.",
    "superseded": "Nothing: a later attempt or round has begun at this site.",
    "not_in_accept": _ASK,
    "fork": "The study is paused: two sites accepted different results. Keep the record; call the lead.",
    "own_hello": _ASK,
    "peer_state": "Find out why this site starts from another state; it must rejoin first.",
    "duplicate_key": "Find out why two sites sent one key; one of them copies the other.",
    "weak_key": "Find out why this site sent a key that protects nothing.",
    "own_deal": _ASK,
    "deal_shape": "Install the same version of Wardround at this site; it dealt for another cohort.",
    "too_few_dealers": _WAIT,
    "ciphertext_altered": "Find out who altered the ciphertext on its way; its dealer signed another one.",
    "bad_ciphertext": "Find out why this dealer signed a ciphertext that its recipient cannot open.",
    "wrong_share": "Find out why this site sent a share that does not open its commitment.",
    "bad_vector": "Report this to the developers: the update does not have the shape of the plan's model.",
    "masked_twice": "Nothing: this site sends one masked update per round.",
    "own_upload": _ASK,
    "not_a_dealer": _ASK,
    "too_few_uploads": _VOID,
    "confirmed_otherwise": _ASK,
    "not_a_survivor": _ASK,
    "too_few_confirms": _VOID,
    "opened_otherwise": _ASK,
    "bad_result": "Ask the coordinator to send the result again; this one was altered or miscounted.",
    "accepted_otherwise": _ASK,
    # what the coordinator noticed
    "answered_twice": "Look at this site's connection and version: it answered one request twice.",
    "not_asked": "Look at this site's version: it answered a request that it was not sent.",
    "bad_upload": "Look at this site's connection and version: its upload is not what it signed.",
    "bad_open": "Look at this site's version: it opened another set than the confirmed one.",
    "bad_accept": "Look at this site's version: it accepted another round than the one that ended.",
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
