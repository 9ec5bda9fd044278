"""The coordinator's session: START per site, checkpoints, ABORTs, full results, and whom it blames."""

import msgspec
import numpy as np
import pytest

from wardround_common.canonical import decode
from wardround_common.messages import NO_TRANSCRIPT, Abandon, Abort, Cohort, Envelope, Packet, Result, Start
from wardround_common.secagg.ring import vector_digest
from wardround_common.secagg.unmasking import Opening
from wardround_server.secagg import CoordinatorSession

replace = msgspec.structs.replace


def body_of(packet, kind):
    return decode(decode(packet.envelope, Envelope, limit_bytes=1 << 26).body, kind, limit_bytes=1 << 26)


def again(w):
    """A coordinator that was started again, at the same attempt."""
    return CoordinatorSession(w.terms, signer=w.signers["coordinator"], roster=w.signed_roster)


def abort(w, name, **fields):
    packet = Packet(w.say(Abort(), NO_TRANSCRIPT, by=name))
    return w.reseal(packet, **fields) if fields else packet


def test_start_says_to_each_site_what_it_missed_and_what_it_said_last(world):
    w = world(3)
    plain = body_of(w.coordinator.start(), Start)
    assert (plain.links, plain.hello) == ((), b"")
    packet = w.coordinator.start(
        links=((b"x", b"y"), (b"z",)), hello=b"h", state=np.arange(4, dtype=np.uint32)
    )
    body = body_of(packet, Start)
    assert (body.links, body.hello) == (((b"x", b"y"), (b"z",)), b"h")
    assert packet.array.tolist() == [0, 1, 2, 3]
    assert (body.roster, body.state, body.accepts) == (plain.roster, plain.state, plain.accepts)


def test_start_is_not_sent_once_the_cohort_is_known(world, refused):
    w = world(3).play("cohort")
    with refused("secagg.order"):
        w.coordinator.start()


def test_the_same_replies_give_the_same_requests_byte_for_byte(world):
    w = world(4).play("accept")
    second = again(w)
    second.start()
    for reply, ask in (
        ("hello", "cohort"),
        ("deal", "envelopes"),
        ("masked", "survivors"),
        ("confirm", "confirms"),
    ):
        for name, packet in reversed(w.packets[reply].items()):
            getattr(second, f"take_{reply}")(packet, site=name)
        requests = getattr(second, ask)()
        assert {n: p.envelope for n, p in requests.items()} == {
            n: p.envelope for n, p in w.packets[ask].items()
        }
    for name, packet in w.packets["open"].items():
        second.take_open(packet, site=name)
    assert np.array_equal(second.aggregate(), w.coordinator.aggregate())
    assert second.result()["a"].envelope == w.packets["result"]["a"].envelope


def test_a_checkpoint_stands_for_the_uploads(world, refused):
    w = world(4).play("masked")
    uploads, total = w.coordinator.checkpoint()
    second = again(w)
    second.start()
    for reply, ask in (("hello", "cohort"), ("deal", "envelopes")):
        for name, packet in w.packets[reply].items():
            getattr(second, f"take_{reply}")(packet, site=name)
        getattr(second, ask)()
    with refused("secagg.upload_shape"):
        second.restore({}, total[:-1])
    with refused("message.other_sender"):
        second.restore({"a": uploads["b"]}, total)
    second.restore(uploads, total)
    requests = second.survivors()
    assert requests["a"].envelope == w.ask("survivors")["a"].envelope
    assert not np.shares_memory(second._accumulator, total)


def test_cohort_carries_the_aborts(world):
    w = world(3).play("hello")
    requests = w.coordinator.cohort([b"one", b"two"])
    assert body_of(requests["a"], Cohort).aborts == (b"one", b"two")


def test_a_full_result_carries_the_opens_and_all_uploads_in_the_order_of_names(world):
    w = world(5, verify_full=True).play("open", silent={"c": "masked"})
    total = w.coordinator.aggregate()
    requests = w.coordinator.result(lambda site: w.packets["masked"][site].array)
    body = body_of(requests["a"], Result)
    assert body.opens == tuple(w.packets["open"][site].envelope for site in "abde")
    assert (body.size, body.digest) == (w.terms.size, vector_digest(total))
    rows = requests["a"].array.reshape(4, -1)
    for row, site in zip(rows, "abde", strict=True):
        assert np.array_equal(row, w.packets["masked"][site].array)
    with pytest.raises(ValueError, match="verify"):
        w.coordinator.result()


def test_an_attempt_is_abandoned_only_between_envelopes_and_confirms(world, refused):
    for step in ("hello", "cohort", "confirms", "open"):
        with refused("secagg.order"):
            world(3).play(step).coordinator.failed()
    for step in ("envelopes", "masked", "confirm"):
        assert world(3).play(step).coordinator.failed().attempt == 1


@pytest.mark.parametrize(("n", "needed"), [(3, 2), (4, 3), (5, 3), (7, 4), (10, 5)])
def test_enough_aborts_close_an_attempt(world, n, needed):
    w = world(n).play("masked", silent={"a": "masked"})
    failed = w.coordinator.failed()
    assert set(failed.requests()) == set(w.sites)
    assert body_of(failed.requests()["a"], Abandon) == Abandon()
    for place, name in enumerate(reversed(w.sites), 1):
        failed.take_abort(abort(w, name), site=name)
        assert failed.closed == (place >= needed)
        assert set(failed.requests()) == set(w.sites[: n - place])
    assert failed.aborts == tuple(abort(w, name).envelope for name in w.sites)


def test_an_attempt_that_a_site_finds_not_closed_wants_one_abort_more(world):
    w = world(5).play("masked")
    failed = w.coordinator.failed()
    for name in "abc":
        failed.take_abort(abort(w, name), site=name)
    assert failed.closed
    failed.more()
    assert not failed.closed
    failed.take_abort(abort(w, "d"), site="d")
    assert failed.closed


def test_an_abort_that_is_not_one_is_refused(world, refused):
    w = world(4).play("masked", silent={"d": "hello"})
    failed = w.coordinator.failed()
    lies = {
        "message.other_transcript": abort(w, "a", transcript=b"t" * 32),
        "message.other_attempt": abort(w, "a", attempt=2),
        "message.other_round": abort(w, "a", round=2),
        "message.other_sender": abort(w, "b"),
        "message.other_type": w.packets["masked"]["a"],
    }
    for code, lie in lies.items():
        with refused(code):
            failed.take_abort(lie, site="a")
    with refused("secagg.not_asked"):
        failed.take_abort(abort(w, "d"), site="d")
    failed.take_abort(abort(w, "a"), site="a")
    with refused("secagg.answered_twice"):
        failed.take_abort(abort(w, "a"), site="a")


def test_a_site_that_opens_wrong_shares_is_blamed_and_survived(world, refused):
    w = world(5).play("confirms")
    for name in w.sites:
        packet = w.answer("open", name, w.requests[name])
        if name == "c":
            lie = w.reseal(packet, lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])))
            with refused("secagg.wrong_opened_share", naming="c"):
                w.coordinator.take_open(lie, site="c")
        else:
            w.coordinator.take_open(packet, site=name)
    assert np.array_equal(w.coordinator.aggregate(), w.expected(w.sites))
    assert w.coordinator.blamed == {"c": "secagg.wrong_opened_share"}


def test_accepts_that_contradict_each_other_are_evidence(world, refused):
    w = world(3).play("result")
    packets = {name: w.answer("accept", name, request) for name, request in w.requests.items()}
    lie = w.reseal(packets["b"], lambda body: replace(body, next=b"x" * 32))
    with refused("secagg.accept_next", naming="b"):
        w.take("accept", "b", lie)
    assert w.coordinator.evidence == {}  # so far nobody contradicts it but the coordinator
    w.take("accept", "a", packets["a"])
    assert w.coordinator.evidence == {"b": lie.envelope}
    assert list(w.coordinator.accepted) == ["a"]
    assert w.coordinator.blamed == {}


def test_an_accept_that_contradicts_its_own_transcript_is_blamed(world, refused):
    w = world(3).play("result")
    packet = w.answer("accept", "b", w.requests["b"])
    for code, fields in (("survivors", {"survivors": ("a", "b")}), ("start", {"start": b"x" * 32})):
        with refused(f"secagg.accept_{code}", naming="b"):
            w.take("accept", "b", w.reseal(packet, lambda body, fields=fields: replace(body, **fields)))
        assert w.coordinator.blamed["b"] == f"secagg.accept_{code}"


def test_masks_are_removed_along_the_plans_graph(world):
    w = world(14, degree=4)
    w.play("accept", silent={"c": "masked", "k": "masked"})
    assert isinstance(w.coordinator._opening(), Opening)
    assert np.array_equal(w.coordinator.aggregate(), w.expected(w.coordinator.surviving))
