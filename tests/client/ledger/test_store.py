import threading

import msgspec
import numpy as np
import pytest

from wardround_client.ledger import TEST, TRAIN, VALIDATION, Limits
from wardround_common.accounting import epsilon, evaluate_event, rdp_curve, rdp_epsilon, train_event
from wardround_common.errors import ConsentError, PrivacyError
from wardround_common.trust import plan_digest


def refused(error, code):
    """A context that expects ``error`` with ``code``."""
    return pytest.raises(error, check=lambda found: found.code == code)


def test_a_study_that_keeps_its_promises_is_approved_and_reserves_everything(site, plan, snapshot):
    reservation = site.approve(plan, snapshot)
    assert reservation.train == train_event(plan, plan.steps)
    assert reservation.evaluate == evaluate_event(plan)
    reserved = site.ledger.lifetime(site.digest(1000)).curve
    np.testing.assert_array_equal(reserved, rdp_curve([reservation.train]))


def test_approving_again_reserves_nothing_more(site, plan, snapshot):
    first = site.approve(plan, snapshot)
    head = site.ledger.head()
    assert site.approve(plan, snapshot) == first
    assert site.ledger.head() == head


def test_a_plan_whose_noise_does_not_keep_its_own_promise_is_refused(site, make_plan, snapshot):
    site.approve(make_plan("kept", target=2.0), snapshot)
    with refused(PrivacyError, "privacy.overdrawn") as error:
        site.approve(make_plan("broken", target=1.9), snapshot)
    assert "promises training patients" in error.value.message


def test_a_plan_whose_counts_do_not_keep_their_promise_is_refused(site, make_plan, snapshot):
    with refused(PrivacyError, "privacy.overdrawn") as error:
        site.approve(make_plan(counts=1.0), snapshot)
    assert "promises held-out patients" in error.value.message


@pytest.mark.parametrize(("limit", "granted"), [(2.0, True), (1.99, False)])
def test_the_sites_own_limit_per_study_holds_whatever_the_plan_promises(site, plan, snapshot, limit, granted):
    site.reopen(limits=Limits(largest_epsilon=limit, lifetime_epsilon=40.0, lifetime_delta=1e-5))
    if granted:
        site.approve(plan, snapshot)
    else:
        with refused(PrivacyError, "privacy.overdrawn") as error:
            site.approve(plan, snapshot)
        assert "this site permits 1.99" in error.value.message
        assert site.ledger.spends(plan.study) == ()
        assert site.ledger.lifetime().epsilon == 0.0


def test_a_plan_can_be_checked_before_there_is_a_catalogue(site, make_plan):
    head = site.ledger.head()
    site.ledger.check(make_plan(), plan_digest(make_plan()))
    assert site.ledger.head() == head
    with refused(PrivacyError, "privacy.overdrawn"):
        site.ledger.check(make_plan(target=1.9), plan_digest(make_plan(target=1.9)))
    with refused(ConsentError, "ledger.other_plan"):
        site.ledger.check(make_plan("a"), plan_digest(make_plan("b")))


def test_checking_a_plan_looks_at_what_the_newest_patients_have_spent(site, make_plan, snapshot):
    site.run(make_plan("first"), snapshot)
    plan = make_plan("second")
    site.reopen(limits=Limits(largest_epsilon=10.0, lifetime_epsilon=2.5, lifetime_delta=1e-5))
    with refused(PrivacyError, "privacy.overdrawn"):
        site.ledger.check(plan, plan_digest(plan))
    site.ledger.register(site.digest(2), site.people(TRAIN, first=5000))
    site.ledger.check(plan, plan_digest(plan))


def test_checking_a_plan_finds_a_name_that_is_taken_and_a_study_that_is_closed(site, make_plan, snapshot):
    plan, changed = make_plan(), make_plan(noise=4.0)
    site.approve(plan, snapshot)
    site.ledger.check(plan, plan_digest(plan))
    with refused(ConsentError, "ledger.name_taken"):
        site.ledger.check(changed, plan_digest(changed))
    site.ledger.close(plan.study)
    with refused(ConsentError, "ledger.closed"):
        site.ledger.check(plan, plan_digest(plan))


def test_the_sites_own_limit_on_delta_holds(site, plan, snapshot):
    limits = Limits(largest_epsilon=10.0, lifetime_epsilon=40.0, lifetime_delta=1e-5, largest_delta=1e-6)
    site.reopen(limits=limits)
    with refused(PrivacyError, "privacy.overdrawn") as error:
        site.approve(plan, snapshot)
    assert "delta" in error.value.message


def test_the_lifetime_limit_refuses_the_study_that_would_overdraw_it(site, make_plan, snapshot):
    two = rdp_epsilon(2 * rdp_curve([train_event(make_plan(), 20)]), delta=1e-5)
    limits = Limits(largest_epsilon=10.0, lifetime_epsilon=two, lifetime_delta=1e-5)
    site.reopen(limits=limits)
    site.approve(make_plan("first", counts=3.0), snapshot)
    site.approve(make_plan("second", counts=3.0), snapshot)
    with refused(PrivacyError, "privacy.overdrawn") as error:
        site.approve(make_plan("third", counts=3.0), snapshot)
    assert "training patient would come to a lifetime epsilon" in error.value.message
    assert f"{two:.4f}" in error.value.message


def test_the_lifetime_limit_also_protects_held_out_patients(site, make_plan):
    site.ledger.register(site.digest(1), site.people(VALIDATION))
    one = site.reopen(limits=Limits(largest_epsilon=10.0, lifetime_epsilon=2.5, lifetime_delta=1e-5))
    one.approve(make_plan("a"), plan_digest(make_plan("a")), snapshot=site.digest(1))
    with refused(PrivacyError, "privacy.overdrawn") as error:
        site.approve(make_plan("b"), site.digest(1))
    assert "validation patient" in error.value.message


def test_two_studies_compose_by_their_curves(site, make_plan, snapshot):
    first, second = make_plan("first", noise=3.0), make_plan("second", noise=4.0)
    site.run(first, snapshot)
    site.approve(second, snapshot)
    curve = rdp_curve([train_event(first, 20), train_event(second, 20)])
    found = site.ledger.lifetime(site.digest(1000))
    np.testing.assert_allclose(found.curve, curve, rtol=1e-12)
    assert found.epsilon == rdp_epsilon(found.curve, delta=1e-5)
    held_out = site.ledger.lifetime(site.digest(1008))
    np.testing.assert_allclose(held_out.curve, 2 * rdp_curve([evaluate_event(first)]), rtol=1e-12)


def test_a_patient_that_comes_back_under_another_snapshot_brings_what_it_spent(site, make_plan, snapshot):
    site.run(make_plan("first"), snapshot)
    back, fresh = site.people(TRAIN)[0], site.people(TRAIN, first=5000)[0]
    site.ledger.register(site.digest(2), [back, fresh])
    assert site.ledger.lifetime(fresh[0]).epsilon == 0.0
    spent = site.ledger.lifetime(back[0]).epsilon
    site.reopen(limits=Limits(largest_epsilon=10.0, lifetime_epsilon=spent + 0.1, lifetime_delta=1e-5))
    with refused(PrivacyError, "privacy.overdrawn"):
        site.approve(make_plan("second"), site.digest(2))
    site.ledger.register(site.digest(3), [fresh])
    site.approve(make_plan("second"), site.digest(3))


def test_a_patient_in_two_snapshots_of_one_study_is_charged_once(site, plan, snapshot):
    site.ledger.register(site.digest(2), site.people(TRAIN, TRAIN))
    site.approve(plan, snapshot)
    site.approve(plan, site.digest(2))
    found = site.ledger.lifetime(site.digest(1000)).curve
    np.testing.assert_array_equal(found, rdp_curve([train_event(plan, 20)]))


def test_adding_a_snapshot_to_a_study_does_not_ask_a_patient_to_pay_again(site, plan, snapshot):
    site.reopen(limits=Limits(largest_epsilon=10.0, lifetime_epsilon=2.5, lifetime_delta=1e-5))
    site.ledger.register(site.digest(2), site.people(TRAIN, TRAIN))
    site.approve(plan, snapshot)
    site.approve(plan, site.digest(2))


def test_an_open_study_charges_nobody_outside_its_snapshots(site, plan, snapshot):
    stranger = site.people(TRAIN, first=5000)
    site.ledger.register(site.digest(2), stranger)
    site.approve(plan, snapshot)
    assert site.ledger.lifetime(stranger[0][0]).epsilon == 0.0


def test_closing_frees_what_was_not_spent_and_keeps_what_was(site, plan, snapshot):
    site.approve(plan, snapshot)
    site.spend(plan, 1, snapshot)
    site.ledger.close(plan.study)
    training, held_out = site.digest(1000), site.digest(1008)
    np.testing.assert_array_equal(site.ledger.lifetime(training).curve, rdp_curve([train_event(plan, 5)]))
    assert site.ledger.lifetime(held_out).epsilon == 0.0
    with refused(ConsentError, "ledger.closed"):
        site.spend(plan, 2, snapshot)
    with refused(ConsentError, "ledger.closed"):
        site.approve(plan, snapshot)


def test_a_closed_study_charges_only_patients_of_the_snapshots_that_its_rounds_used(site, plan, snapshot):
    newcomer = site.people(TRAIN, first=5000)
    site.ledger.register(site.digest(2), newcomer)
    site.approve(plan, snapshot)
    site.approve(plan, site.digest(2))
    site.spend(plan, 1, snapshot)
    site.spend(plan, 2, site.digest(2))
    site.spend(plan, 3, site.digest(2))
    site.ledger.close(plan.study)
    old, new = (site.ledger.lifetime(key).curve for key in (site.digest(1000), newcomer[0][0]))
    np.testing.assert_allclose(old, rdp_curve([train_event(plan, 5)]))
    np.testing.assert_allclose(new, rdp_curve([train_event(plan, 10)]))


def test_rounds_draw_on_the_reservation_and_no_further(site, plan, snapshot):
    site.approve(plan, snapshot)
    for number in range(1, 5):
        site.spend(plan, number, snapshot)
    with refused(PrivacyError, "privacy.overdrawn"):
        site.spend(plan, 5, snapshot)
    site.spend(plan, 5, snapshot, kind="evaluate")
    with refused(PrivacyError, "privacy.overdrawn"):
        site.spend(plan, 6, snapshot, kind="evaluate")
    assert len(site.ledger.spends(plan.study)) == 5


@pytest.mark.parametrize(
    "change", [{"noise_multiplier": 2.9}, {"sample_rate": 0.31}, {"steps": 21}, {"mechanism": "gaussian"}]
)
def test_a_round_that_does_something_else_than_planned_is_refused(site, plan, snapshot, change):
    site.approve(plan, snapshot)
    event = msgspec.structs.replace(train_event(plan, 5), **change)
    with refused(PrivacyError, "privacy.overdrawn"):
        site.spend(plan, 1, snapshot, event=event)


def test_epsilon_spent_is_that_of_the_rounds_spent_side_by_side(site, plan, snapshot):
    site.approve(plan, snapshot)
    before = site.ledger.epsilon_spent(plan.study)
    assert (before.train, before.validation, before.test, before.largest) == (0.0, 0.0, 0.0, 0.0)
    site.spend(plan, 1, snapshot)
    site.spend(plan, 2, snapshot)
    site.spend(plan, 3, snapshot, kind="evaluate")
    spent = site.ledger.epsilon_spent(plan.study)
    assert spent.train == epsilon([train_event(plan, 10)], delta=1e-5)
    assert spent.validation == spent.test == epsilon([evaluate_event(plan)], delta=1e-5)
    assert spent.largest == max(spent.train, spent.test)


def test_the_same_round_again_is_the_same_spend(site, plan, snapshot):
    site.approve(plan, snapshot)
    spend = site.spend(plan, 1, snapshot)
    head = site.ledger.head()
    assert site.spend(plan, 1, snapshot) == spend
    assert site.ledger.head() == head
    assert site.ledger.spends(plan.study) == (spend,)


@pytest.mark.parametrize("change", [{"D": bytes(32)}, {"secret_id": bytes(16)}, {"snapshot": b"2" * 32}])
def test_a_round_again_from_something_else_is_refused(site, plan, snapshot, change):
    site.ledger.register(b"2" * 32, site.people(TRAIN))
    site.approve(plan, b"2" * 32)
    site.approve(plan, snapshot)
    site.spend(plan, 1, snapshot)
    with refused(PrivacyError, "privacy.rerun_differs") as error:
        site.spend(plan, 1, snapshot, **change) if "snapshot" not in change else site.spend(
            plan, 1, b"2" * 32
        )
    assert next(iter(change)) in error.value.message


def test_rounds_only_go_up_through_both_kinds(site, plan, snapshot):
    site.approve(plan, snapshot)
    site.spend(plan, 2, snapshot)
    site.spend(plan, 7, snapshot, kind="evaluate")
    for number in (1, 3, 7):
        with refused(PrivacyError, "privacy.round_passed"):
            site.spend(plan, number, snapshot)
    site.spend(plan, 8, snapshot)


def test_a_round_of_a_study_that_nobody_approved_is_refused(site, plan, snapshot):
    with refused(ConsentError, "ledger.not_approved"):
        site.spend(plan, 1, snapshot)


def test_a_round_of_another_plan_under_the_same_name_is_refused(site, plan, snapshot):
    site.approve(plan, snapshot)
    with refused(ConsentError, "ledger.name_taken"):
        site.spend(plan, 1, snapshot, plan_digest=bytes(32))


def test_another_plan_under_the_same_name_is_refused(site, make_plan, snapshot):
    site.approve(make_plan(noise=3.0), snapshot)
    with refused(ConsentError, "ledger.name_taken"):
        site.approve(make_plan(noise=4.0), snapshot)


def test_a_plan_other_than_the_one_whose_digest_was_approved_is_refused(site, make_plan, snapshot):
    with refused(ConsentError, "ledger.other_plan"):
        site.ledger.approve(make_plan("a"), plan_digest(make_plan("b")), snapshot=snapshot)


def test_a_catalogue_that_was_not_registered_or_not_approved_is_refused(site, plan, snapshot):
    with refused(ConsentError, "ledger.unknown_snapshot"):
        site.approve(plan, site.digest(2))
    site.approve(plan, snapshot)
    site.ledger.register(site.digest(2), site.people(TRAIN, TRAIN))
    with refused(ConsentError, "ledger.unknown_snapshot"):
        site.spend(plan, 1, site.digest(2))


def test_an_output_is_written_once(site, plan, snapshot):
    site.approve(plan, snapshot)
    spend = site.spend(plan, 1, snapshot)
    assert site.ledger.output_of(plan.study, 1, "train") is None
    output = site.ledger.output(spend, site.digest(77))
    assert site.ledger.output(spend, site.digest(77)) == output
    with refused(PrivacyError, "privacy.output_differs"):
        site.ledger.output(spend, site.digest(78))
    assert site.ledger.output_of(plan.study, 1, "train") == site.digest(77)
    assert site.ledger.output_of(plan.study, 1, "evaluate") is None


def test_an_output_of_a_spend_that_the_ledger_does_not_hold_is_refused(site, plan, snapshot):
    site.approve(plan, snapshot)
    spend = site.spend(plan, 1, snapshot)
    with refused(ConsentError, "ledger.not_approved"):
        site.ledger.output(msgspec.structs.replace(spend, D=bytes(32)), site.digest(77))


def test_a_crash_between_spend_and_output_leaves_the_spend_spent(site, plan, snapshot):
    site.approve(plan, snapshot)
    spend = site.spend(plan, 1, snapshot)
    ledger = site.reopen()
    assert ledger.spends(plan.study) == (spend,)
    assert ledger.output_of(plan.study, 1, "train") is None
    assert ledger.epsilon_spent(plan.study).train == epsilon([train_event(plan, 5)], delta=1e-5)
    assert site.spend(plan, 1, snapshot) == spend
    for number in (2, 3, 4):
        site.spend(plan, number, snapshot)
    with refused(PrivacyError, "privacy.overdrawn"):
        site.spend(plan, 5, snapshot)


def test_a_reopened_ledger_answers_as_before(site, make_plan, snapshot):
    site.run(make_plan("first"), snapshot)
    site.approve(make_plan("second"), snapshot)
    before = (site.ledger.head(), site.ledger.verify(), site.ledger.lifetime().epsilon)
    ledger = site.reopen()
    assert (ledger.head(), ledger.verify(), ledger.lifetime().epsilon) == before


def test_registering_again_changes_nothing_and_other_people_are_refused(site, snapshot):
    head = site.ledger.head()
    site.ledger.register(snapshot, reversed(site.people(0, 0, 0, 0, 0, 1, 1, 2, 2)))
    assert site.ledger.head() == head
    with refused(PrivacyError, "ledger.snapshot_differs"):
        site.ledger.register(snapshot, site.people(0, 0, 0, 0, 0, 1, 1, 2))


def test_a_patient_cannot_change_sides(site, snapshot):
    head = site.ledger.head()
    with refused(PrivacyError, "ledger.side_changed"):
        site.ledger.register(site.digest(2), [*site.people(TEST), *site.people(TRAIN, first=9000)])
    assert site.ledger.head() == head
    assert site.ledger.verify()
    site.ledger.register(site.digest(2), site.people(TRAIN))


@pytest.mark.parametrize("people", [[(b"short", 0)], [(bytes(32), 3)], [(bytes(32), 0), (bytes(32), 1)]])
def test_people_of_the_wrong_shape_are_refused(site, people):
    with pytest.raises(ValueError, match=r"key|side"):
        site.ledger.register(site.digest(2), people)


def test_a_site_without_patients_can_take_part(site, plan):
    site.ledger.register(site.digest(9), [])
    site.run(plan, site.digest(9))
    assert site.ledger.lifetime().epsilon == 0.0
    assert site.ledger.epsilon_spent(plan.study).train > 0


def test_a_site_without_held_out_patients_can_take_part(site, plan):
    site.ledger.register(site.digest(9), site.people(TRAIN, TRAIN))
    site.run(plan, site.digest(9))
    assert site.ledger.lifetime().epsilon == site.ledger.lifetime(site.digest(1000)).epsilon > 0


def test_a_claim_that_could_not_be_read_again_is_not_written(site, plan, snapshot):
    site.approve(plan, snapshot)
    head = site.ledger.head()
    with pytest.raises(ValueError, match="out of range"):
        site.spend(plan, 1, snapshot, D=b"short")
    assert site.ledger.head() == head
    site.spend(plan, 1, snapshot)


def test_a_second_process_is_seen(site, plan, snapshot):
    other = site.open()
    other.approve(plan, plan_digest(plan), snapshot=snapshot)
    spend = site.spend(plan, 1, snapshot)
    assert other.spends(plan.study) == (spend,)
    assert other.head() == site.ledger.head()
    other.shut()


def test_threads_take_turns(site, plan, snapshot):
    site.approve(plan, snapshot)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(site.spend(plan, 1, snapshot))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert set(results) == {site.ledger.spends(plan.study)[0]}


def test_unknown_patients_and_studies_have_spent_nothing(site):
    assert site.ledger.lifetime(site.digest(4)).epsilon == 0.0
    assert site.ledger.spends("unheard-of") == ()
    assert site.ledger.output_of("unheard-of", 1, "train") is None
    with refused(ConsentError, "ledger.not_approved"):
        site.ledger.epsilon_spent("unheard-of")
    with refused(ConsentError, "ledger.not_approved"):
        site.ledger.close("unheard-of")


@pytest.mark.parametrize(
    "change", [{"largest_epsilon": 0.0}, {"lifetime_epsilon": float("inf")}, {"lifetime_delta": 0.0}]
)
def test_limits_that_limit_nothing_are_refused(change):
    fields = {"largest_epsilon": 1.0, "lifetime_epsilon": 1.0, "lifetime_delta": 1e-5} | change
    with pytest.raises(ValueError, match="limits"):
        Limits(**fields)
