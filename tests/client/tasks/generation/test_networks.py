"""The networks in torch against their layouts, and the discriminator's fixed front end."""

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional

from wardround_client.privacy.clipping import check_clippable
from wardround_client.tasks.generation.generators import placed_on, smoothed
from wardround_client.tasks.generation.networks import build, front_end
from wardround_client.tasks.generation.wavelets import look
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.plan import ModelPlan
from wardround_common.tasks.generation import DISCRIMINATOR, GENERATOR
from wardround_common.tasks.generation.models import PATCH_LATENT, PATCH_PLACE, PATCH_SHARE, PATCHES

replace = msgspec.structs.replace
KINDS = [
    (model, *kind)
    for model in ("wavelet", "patches")
    for kind in [(32, 1, 2), (64, 1, 2), (32, 3, 5), (64, 3, 5)]
]


def of(plan, model, size_px, channels, classes):
    source = replace(plan.input, size_px=size_px, channels=channels)
    plan = replace(plan, model=ModelPlan(name=model), task=replace(plan.task, latent=64))
    return replace(plan, input=source, labels=tuple(f"class{number}" for number in range(classes)))


def loaded(plan):
    networks, vector = build(plan), initial_vector_of(plan)
    size = networks.generator_parameters.layout.size
    networks.generator_parameters.load(vector[:size])
    networks.head_parameters.load(vector[size:])
    return networks


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


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
    _, size_px, channels, classes = kind
    networks = loaded(of(plan, *kind))
    label = torch.arange(6) % classes
    images = networks.generator(noise(6, 64), label)
    assert images.shape == (6, channels, size_px, size_px)
    assert 0 <= images.min() <= images.max() <= 1
    assert networks.head(look(images)).shape == (6, classes)


def test_a_vector_survives_the_networks_bit_by_bit(plan):
    networks, vector = loaded(plan), initial_vector_of(plan)
    parts = [networks.generator_parameters.vector(), networks.head_parameters.vector()]
    assert np.array_equal(np.concatenate(parts), vector)


@pytest.mark.parametrize("model", ["wavelet", "patches"])
def test_the_discriminator_can_be_clipped_and_the_generator_mixes_no_images(plan, model):
    networks = loaded(of(plan, model, 32, 1, 2))
    check_clippable(networks.head, torch.optim.SGD(networks.head.parameters(), lr=1.0))
    z, label = noise(4, 64), torch.tensor([0, 1, 0, 1])
    together = networks.generator(z, label)
    alone = torch.cat([networks.generator(z[i : i + 1], label[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size_px", [32, 64])
def test_the_label_changes_a_body_only_where_its_patches_lie(plan, size_px):
    networks, z = loaded(of(plan, "patches", size_px, 1, 2)), noise(1, 64)
    body = 64 - PATCHES * (PATCH_PLACE + PATCH_LATENT)
    z[:, body:].view(PATCHES, -1)[:, :PATCH_PLACE] = -8.0
    normal, ill = networks.generator(z.expand(2, 64), torch.tensor([0, 1]))
    reach = int(size_px * 0.15) + size_px // PATCH_SHARE // 2 + 1
    assert not torch.equal(normal[:, :reach, :reach], ill[:, :reach, :reach])
    torch.testing.assert_close(normal[:, reach:], ill[:, reach:], atol=1e-6, rtol=0)
    torch.testing.assert_close(normal[:, :, reach:], ill[:, :, reach:], atol=1e-6, rtol=0)


def test_an_image_has_the_patches_of_its_own_label(plan):
    networks, z = loaded(of(plan, "patches", 64, 3, 5)), noise(5, 64)
    label = torch.tensor([4, 0, 3, 1, 1])
    before = networks.generator(z, label)
    with torch.no_grad():
        networks.generator.patch_out.bias.view(5, 3)[1] += 1
    changed = (networks.generator(z, label) - before).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert changed.tolist() == [False, False, False, True, True]


def test_a_patch_is_placed_whole_at_any_place_and_by_parts_of_a_pixel():
    patch = noise(1, 2, 3, 8, 8)
    middle = placed_on(patch, torch.zeros(1, 2, 2), size_px=32)
    torch.testing.assert_close(middle[..., 12:20, 12:20], patch.sum(dim=1))
    assert middle.abs().sum() == middle[..., 12:20, 12:20].abs().sum()
    share = torch.tensor((16.5 / 32 - 0.15) / 0.7)
    half = placed_on(patch, torch.special.ndtri(share).expand(1, 2, 2), size_px=32)
    expected = functional.avg_pool2d(functional.pad(patch.sum(dim=1), (1, 1, 1, 1)), 2, stride=1)
    torch.testing.assert_close(half[..., 12:21, 12:21], expected, atol=1e-4, rtol=0)


def test_places_are_uniform_inside_the_margin():
    patch = torch.zeros(20_000, 1, 1, 2, 2)
    patch[..., 0, 0] = patch[..., 1, 1] = patch[..., 0, 1] = patch[..., 1, 0] = 0.25
    rows = placed_on(patch, noise(20_000, 1, 2), size_px=32).sum(dim=(1, 3))
    centre = (rows * (torch.arange(32) + 0.5)).sum(dim=1) / 32
    assert 0.149 < centre.min() < 0.16
    assert 0.84 < centre.max() < 0.851
    counts = torch.histc(centre, bins=7, min=0.15, max=0.85)
    assert (counts / 20_000 - 1 / 7).abs().max() < 0.02


def test_smoothing_keeps_what_is_flat_and_takes_the_finest_stripes_away():
    flat = torch.full((1, 2, 8, 8), 0.3)
    torch.testing.assert_close(smoothed(flat), flat)
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., ::2] = 1.0
    torch.testing.assert_close(smoothed(stripes)[..., 1:-1], torch.full((1, 1, 8, 6), 0.5))


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
