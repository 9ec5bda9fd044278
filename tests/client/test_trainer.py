"""The trainer in a child process: the same bits, and a death that costs nothing but time."""

import os
import resource
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from federations import SEED, catalogue_of, make_plan
from keys import DATA

from wardround_client.catalogue import CATALOGUE_FILE
from wardround_client.tasks import load_task
from wardround_client.tasks.interface import NOTHING, RuntimeFlags
from wardround_client.training import LocalTrainer, TrainerProcess, jobs
from wardround_common.errors import StorageError, TrainerError
from wardround_common.state import initial_state
from wardround_common.trust import plan_digest, sign_plan
from wardround_simulations.secrets import Secrets

SITE = "alder"
KEY = bytes(range(32))
PLAN = make_plan(3)


@pytest.fixture
def images(tmp_path):
    path = tmp_path / CATALOGUE_FILE
    catalogue_of(SITE).save(path, DATA)
    return path


@pytest.fixture
def process():
    process = TrainerProcess()
    yield process
    process.close()


def opened(process, images, plan=PLAN):
    signed = sign_plan(plan, Secrets(SEED).key("lead"))
    return process.study(
        plan_digest(plan), signed=signed, site=SITE, catalogue=images, sealer=DATA, flags=RuntimeFlags()
    )


def here(plan=PLAN):
    return LocalTrainer(plan, site=SITE, catalogue=catalogue_of(SITE), flags=RuntimeFlags(), task=load_task)


def trained(trainer, plan=PLAN):
    return trainer.train(start=initial_state(plan).vector, local_L=NOTHING, key=KEY)


def when_it_trains(process, act):
    """Do something to the child once it has been busy for a while."""

    def watch():
        child = psutil.Process(process.pid)
        begun = child.cpu_times().user
        while child.cpu_times().user < begun + 0.3:
            time.sleep(0.005)
        act(child)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill(process):
    psutil.Process(process.pid).kill()
    while process.pid is not None:
        time.sleep(0.01)


def test_nothing_in_the_folder_that_it_is_started_in_is_executed(process, images, tmp_path, monkeypatch):
    planted = tmp_path / "here"
    planted.mkdir()
    (planted / "queue.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(planted)
    _, trainer = opened(process, images)
    assert trained(trainer).noisy_steps == trained(here()).noisy_steps


LONG = make_plan(3, recipe=PLAN.recipe.__class__(learning_rate=1.0, local_steps=400, sample_rate=0.9))


def test_the_child_gives_the_bits_that_this_process_gives(process, images):
    census, trainer = opened(process, images)
    assert census == catalogue_of(SITE).census
    assert process.pid != os.getpid()
    there, ours = trained(trainer), trained(here())
    assert np.array_equal(there.update_P, ours.update_P)
    assert there.noisy_steps == ours.noisy_steps
    vector = initial_state(PLAN).average
    assert np.array_equal(trainer.count(vector=vector), here().count(vector=vector))


def test_a_child_that_is_killed_over_its_work_is_an_error_and_the_work_is_done_again(process, images):
    _, trainer = opened(process, images, LONG)
    first = process.pid
    thread = when_it_trains(process, lambda child: child.kill())
    with pytest.raises(TrainerError) as caught:
        trained(trainer, LONG)
    thread.join()
    assert (caught.value.code, caught.value.retryable) == ("trainer.crashed", True)
    assert process.pid not in (None, first)
    assert np.array_equal(trained(trainer, LONG).update_P, trained(here(LONG), LONG).update_P)


def test_a_child_that_was_killed_while_it_had_nothing_to_do_is_not_missed(process, images):
    _, trainer = opened(process, images)
    kill(process)
    assert np.array_equal(trained(trainer).update_P, trained(here()).update_P)


def test_stop_ends_training_at_once_and_start_lets_it_begin_again(process, images):
    _, trainer = opened(process, images, LONG)
    thread = when_it_trains(process, lambda child: process.stop())
    with pytest.raises(TrainerError) as caught:
        trained(trainer, LONG)
    thread.join()
    assert caught.value.code == "trainer.stopped"
    with pytest.raises(TrainerError):
        trained(trainer, LONG)
    assert process.pid is None
    process.start()
    assert trained(trainer, LONG).noisy_steps == 400


def test_a_study_that_is_forgotten_is_out_of_the_childs_memory(process, images):
    _, trainer = opened(process, images)
    trained(trainer)
    first, vector = process.pid, initial_state(PLAN).vector.astype("<f4").tobytes()
    process.forget(plan_digest(PLAN))
    process.forget(plan_digest(PLAN))
    with pytest.raises(TrainerError, match="KeyError"):
        process.ask(jobs.Train(plan=plan_digest(PLAN), start=vector, local=b"", key=KEY), jobs.Trained)
    assert np.array_equal(trained(trainer).update_P, trained(here()).update_P)  # it reads them again
    assert process.pid == first


def test_a_child_that_is_gone_needs_not_forget(process, images):
    _, trainer = opened(process, images)
    kill(process)
    process.forget(plan_digest(PLAN))
    assert process.pid is None
    process.stop()
    process.forget(plan_digest(PLAN))
    process.start()
    assert trained(trainer).noisy_steps == 2


def test_images_that_were_exchanged_are_not_trained_on(process, images):
    _, trainer = opened(process, images)
    catalogue_of(SITE, salt=7).save(images, DATA)
    trained(trainer)  # those in memory
    kill(process)
    with pytest.raises(StorageError) as caught:
        trained(trainer)
    assert caught.value.code == "catalogue.altered"


def test_images_that_cannot_be_read_are_the_error_that_they_are_in_this_process(process, images):
    images.write_bytes(b"no catalogue")
    with pytest.raises(StorageError) as caught:
        opened(process, images)
    assert caught.value.code == "catalogue.altered"


def test_a_child_that_finds_no_memory_says_so_and_the_work_is_done_again(process, images):
    _, trainer = opened(process, images)
    trained(trainer)
    first = process.pid
    free = resource.prlimit(first, resource.RLIMIT_AS)
    resource.prlimit(first, resource.RLIMIT_AS, (psutil.Process(first).memory_info().vms, free[1]))
    with pytest.raises(TrainerError) as caught:
        trainer.train(start=initial_state(PLAN).vector, local_L=np.zeros(1 << 26, np.float32), key=KEY)
    assert caught.value.code == "trainer.out_of_memory"
    assert np.array_equal(trained(trainer).update_P, trained(here()).update_P)


def test_no_trainer_outlives_its_daemon(process, images):
    opened(process, images, LONG)
    child = psutil.Process(process.pid)
    process._line.close()  # as the system does for a daemon that is killed
    child.wait(10)


def test_ctrl_c_at_the_terminal_is_the_daemons_to_take(process, images):
    _, trainer = opened(process, images)
    trained(trainer)
    os.kill(process.pid, signal.SIGINT)
    first = process.pid
    assert trained(trainer).noisy_steps == 2
    assert process.pid == first
