"""The generator's step can reach no patient: it takes none, holds none, and gives the same without any."""

import ast
import gc
import inspect
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.generation import teacher as module
from wardround_client.tasks.generation.networks import build
from wardround_client.tasks.generation.teacher import Teacher, fakeness, of_class, realness
from wardround_common.models import initial_vector_of
from wardround_common.streams import Stream, derive
from wardround_common.tasks.generation import GenerationPlan


def stream(purpose="generator"):
    return Stream(derive(bytes(32), purpose))


@pytest.fixture
def networks(plan):
    built, vector = build(plan), initial_vector_of(plan)
    size = built.generator_parameters.layout.size
    built.generator_parameters.load(vector[:size])
    built.head_parameters.load(vector[size:])
    return built


@pytest.fixture
def teacher(plan, networks):
    fields = GenerationPlan.of(plan)
    return Teacher(fields, prior=fields.prior(plan), generator=networks.generator, head=networks.head)


def test_a_step_takes_a_stream_and_nothing_else():
    assert list(inspect.signature(Teacher.step).parameters) == ["self", "stream"]
    assert list(inspect.signature(Teacher.images).parameters) == ["self", "stream"]
    assert set(inspect.signature(Teacher.__init__).parameters) == {
        "self",
        "fields",
        "prior",
        "generator",
        "head",
    }


def test_its_module_names_nothing_that_could_bring_an_image():
    tree = ast.parse(Path(module.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name.startswith("wardround")} == {
        "wardround_client.tasks.generation.drawing",
        "wardround_client.tasks.generation.generators",
        "wardround_client.tasks.generation.wavelets",
        "wardround_common.streams",
        "wardround_common.tasks.generation",
    }


def reachable(root):
    """Every object that can be reached from ``root`` without passing through modules, classes or code."""
    seen, todo = {}, [root]
    skipped = type(inspect), type, type(reachable), type(reachable.__code__)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, skipped):
            continue
        seen[id(thing)] = thing
        todo += gc.get_referents(thing)
    return seen.values()


def patients_in(things, data):
    """Tensors or arrays among ``things`` that share memory with a patient's image, and catalogues."""
    arrays = [thing.detach().numpy() if isinstance(thing, torch.Tensor) else thing for thing in things]
    arrays = [array for array in arrays if isinstance(array, np.ndarray)]
    found = [array for array in arrays if np.may_share_memory(array, data.images_NCHW)]
    return found + [thing for thing in things if isinstance(thing, Catalogue)]


def test_no_image_can_be_reached_from_a_teacher_that_took_its_steps(teacher, networks, data):
    networks.head(torch.rand(3, 28, 8, 8))
    teacher.images(stream("fakes"))
    teacher.step(stream())
    things = [
        thing for thing in reachable(teacher) if isinstance(thing, (torch.Tensor, np.ndarray, Catalogue))
    ]
    assert len(things) > 20
    assert patients_in(things, data) == []


def test_a_planted_image_would_be_found(teacher, data):
    teacher._planted = torch.from_numpy(data.images_NCHW[3:5])
    things = [
        thing for thing in reachable(teacher) if isinstance(thing, (torch.Tensor, np.ndarray, Catalogue))
    ]
    assert len(patients_in(things, data)) > 0


def test_a_step_changes_the_generator_and_leaves_the_discriminator(teacher, networks):
    generator, head = networks.generator_parameters.vector(), networks.head_parameters.vector()
    teacher.step(stream())
    assert not np.array_equal(networks.generator_parameters.vector(), generator)
    assert np.array_equal(networks.head_parameters.vector(), head)
    assert all(parameter.grad is None for parameter in networks.head.parameters())


def test_steps_make_images_that_the_discriminator_takes_for_real_ones(plan, networks):
    fields = msgspec.structs.replace(GenerationPlan.of(plan), fakes=16)
    teacher = Teacher(fields, prior=(0.5, 0.5), generator=networks.generator, head=networks.head)

    def looks_fake():
        from wardround_client.tasks.generation.wavelets import look

        images, label = teacher.images(stream("probe"))
        return realness(networks.head(look(images)), label).mean().item()

    before = looks_fake()
    for number in range(12):
        teacher.step(stream(f"step {number}"))
    assert looks_fake() < before - 0.1


def test_number_and_labels_of_generated_images_are_the_plans(plan, networks):
    fields = msgspec.structs.replace(GenerationPlan.of(plan), fakes=400)
    teacher = Teacher(fields, prior=(0.9, 0.1), generator=networks.generator, head=networks.head)
    images, label = teacher.images(stream("fakes"))
    assert len(images) == len(label) == 400
    assert 0.05 < label.double().mean() < 0.16


def test_drawn_images_carry_no_way_back_into_the_generator(teacher):
    images, _ = teacher.images(stream("fakes"))
    assert not images.requires_grad


def test_the_losses_are_those_of_the_own_label():
    scores, label = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([0, 0])
    own = scores[:, 0]
    torch.testing.assert_close(realness(scores, label), -torch.log(torch.sigmoid(own)))
    torch.testing.assert_close(fakeness(scores, label), -torch.log(1 - torch.sigmoid(own)))
    torch.testing.assert_close(of_class(scores, label), -torch.log_softmax(scores, dim=1)[:, 0])
