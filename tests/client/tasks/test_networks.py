"""The classifiers in torch against their layouts."""

import msgspec
import numpy as np
import pytest
import torch

from wardround_client.tasks.classification.networks import build
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.plan import ModelPlan
from wardround_common.tasks.classification.models import MODELS


def of(plan, name):
    return msgspec.structs.replace(plan, model=ModelPlan(name=name))


@pytest.mark.parametrize("name", MODELS)
def test_parameters_have_the_names_shapes_and_order_of_the_layout(plan, name):
    built = [(n, tuple(p.shape)) for n, p in build(of(plan, name)).head.named_parameters()]
    assert built == [(spec.name, spec.shape) for spec in layout_of(of(plan, name)).tensors]


@pytest.mark.parametrize("name", MODELS)
def test_a_vector_survives_the_network_bit_by_bit(plan, name):
    network, vector = build(of(plan, name)), initial_vector_of(of(plan, name))
    network.load(vector)
    assert np.array_equal(network.vector(), vector)
    network.vector()[:] = 0
    assert np.array_equal(network.vector(), vector)


@pytest.mark.parametrize("size", [16, 24, 64, 100])
@pytest.mark.parametrize("name", MODELS)
def test_images_of_any_size_give_one_logit(plan, name, size):
    network = build(of(plan, name))
    network.load(initial_vector_of(of(plan, name)))
    x = torch.linspace(0, 1, 2 * size * size).view(2, 1, size, size)
    logits = network.head(network.front_end(x) if network.front_end else x)
    assert logits.shape == (2, 1)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_building_a_network_leaves_the_global_generator_where_it_is(plan, name):
    before = torch.get_rng_state()
    build(of(plan, name))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_tells_the_channels_of_a_colour_image_apart(plan, name):
    source = msgspec.structs.replace(plan.input, modality="XC", channels=3)
    plan = msgspec.structs.replace(of(plan, name), input=source)
    network = build(plan)
    network.load(initial_vector_of(plan))
    x_BCHW = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32) * torch.rand(32, 32)
    logits = network.head(x_BCHW if network.front_end is None else network.front_end(x_BCHW))
    assert logits.shape == (3, 1)
    assert len(set(logits.flatten().tolist())) == 3
