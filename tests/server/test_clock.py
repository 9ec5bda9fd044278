from itertools import pairwise

from wardround_server.clock import LONGEST_WAIT_S, SystemClock, chances
from wardround_simulations.clock import VirtualClock


def test_chances_come_at_once_then_after_ever_longer_waits_and_end_at_the_deadline():
    clock = VirtualClock()
    times = [clock.now() for _ in chances(clock, until=1000.0)]
    assert times == [0.0, 5.0, 15.0, 35.0, 75.0, 155.0, 315.0, 615.0, 915.0, 1000.0]
    assert max(b - a for a, b in pairwise(times)) == LONGEST_WAIT_S


def test_after_the_deadline_there_is_one_chance_without_waiting():
    clock = VirtualClock()
    clock.wait(50.0)
    assert list(chances(clock, until=10.0)) == [0.0]
    assert clock.now() == 50.0


def test_the_machines_clock_waits():
    clock = SystemClock()
    before = clock.now()
    clock.wait(0.01)
    assert clock.now() - before >= 0.01
