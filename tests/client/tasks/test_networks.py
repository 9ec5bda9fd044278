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
