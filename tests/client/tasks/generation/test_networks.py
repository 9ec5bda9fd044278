"""The networks in torch against their layouts, and the discriminator's fixed front end."""

import msgspec
import numpy as np
import pytest
import torch

from wardround_client.privacy.clipping import check_clippable
from wardround_client.tasks.generation.networks import build, front_end
from wardround_client.tasks.generation.wavelets import look
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.tasks.generation import DISCRIMINATOR, GENERATOR

replace = msgspec.structs.replace
KINDS = [(32, 1, 2), (64, 1, 2), (32, 3, 5), (64, 3, 5)]


def of(plan, size_px, channels, classes):
    source = replace(plan.input, size_px=size_px, channels=channels)
    return replace(plan, input=source, labels=tuple(f"class{number}" for number in range(classes)))


def loaded(plan):
    networks, vector = build(plan), initial_vector_of(plan)
    size = networks.generator_parameters.layout.size
    networks.generator_parameters.load(vector[:size])
    networks.head_parameters.load(vector[size:])
    return networks


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_the_names_shapes_and_order_of_the_layout(plan, kind):
    plan = of(plan, *kind)
    networks = build(plan)
    built = [
        (prefix + name, tuple(parameter.shape))
        for prefix, module in ((GENERATOR, networks.generator), (DISCRIMINATOR, networks.head))
        for name, parameter in module.named_parameters()
    ]
    assert built == [(spec.name, spec.shape) for spec in layout_of(plan).tensors]


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_draws_images_and_the_discriminator_scores_every_label(plan, kind):
    size_px, channels, classes = kind
    networks = loaded(of(plan, *kind))
    label = torch.arange(6) % classes
    images = networks.generator(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), label)
    assert images.shape == (6, channels, size_px, size_px)
    assert 0 <= images.min() <= images.max() <= 1
    assert networks.head(look(images)).shape == (6, classes)


def test_a_vector_survives_the_networks_bit_by_bit(plan):
    networks, vector = loaded(plan), initial_vector_of(plan)
    parts = [networks.generator_parameters.vector(), networks.head_parameters.vector()]
    assert np.array_equal(np.concatenate(parts), vector)


def test_the_discriminator_can_be_clipped_and_the_generator_mixes_no_images(plan):
    networks = loaded(plan)
    check_clippable(networks.head, torch.optim.SGD(networks.head.parameters(), lr=1.0))
    z, label = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1])
    together = networks.generator(z, label)
    alone = torch.cat([networks.generator(z[i : i + 1], label[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_building_networks_leaves_the_global_generator_where_it_is(plan):
    before = torch.get_rng_state()
    build(plan)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size_px", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_has_the_same_maps_in_whatever_company(size_px, channels):
    x = torch.from_numpy(np.random.default_rng(0).random((70, channels, size_px, size_px), np.float32))
    together = front_end(x)
    assert together.shape == (70, channels * 28, 8, 8)
    for rows in (1, 3, 24, 64):
        assert torch.equal(torch.cat([front_end(part) for part in x.split(rows)]), together)


def test_a_batch_without_rows_has_maps_without_rows():
    assert front_end(torch.zeros(0, 1, 32, 32)).shape == (0, 28, 8, 8)


def test_what_an_image_shows_changes_its_maps():
    plain = torch.full((1, 1, 32, 32), 0.5)
    striped = plain.clone()
    striped[..., ::2] += 0.2
    brighter = plain + 0.1
    wavelets, coarse = slice(0, 12), slice(12, 28)
    assert (look(striped) - look(plain))[:, wavelets].abs().max() > 1
    assert (look(brighter) - look(plain))[:, wavelets].abs().max() < 0.5
    assert (look(brighter) - look(plain))[:, coarse].min() > 0.2
    assert torch.isfinite(look(torch.zeros(1, 1, 32, 32))).all()


def test_the_generator_can_learn_through_the_front_end():
    x = torch.full((2, 1, 32, 32), 0.5, requires_grad=True)
    look(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().min() > 0
