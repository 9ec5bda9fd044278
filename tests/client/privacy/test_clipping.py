"""The clip: the gradient of every patient, its bound, and what hides it."""

import copy

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from scipy import stats
from torch import nn
from torch.nn import functional

from wardround_client.privacy.clipping import PatientOptimizer, PrivateStep, check_clippable
from wardround_client.privacy.noise import Grid
from wardround_client.tasks.classification.networks import NETWORKS
from wardround_client.tasks.classification.training import weighted_loss_sum
from wardround_client.tasks.layers import StandardisedConv2d
from wardround_common.errors import PrivacyError
from wardround_common.plan import PrivacyPlan
from wardround_common.streams import Stream, derive

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

CLIP = 0.7
ALMOST_SILENT = 1e-12
SHAPES = {"scatter": (13, 4, 4), "small": (1, 16, 16)}


def stream(number=0):
    return Stream(derive(b"t" * 32, "clipping", number))


def privacy(noise_multiplier=ALMOST_SILENT, grid_levels=2**20):
    return PrivacyPlan(
        target_epsilon=8.0,
        target_delta=1e-5,
        noise_multiplier=noise_multiplier,
        max_grad_norm=CLIP,
        grid_levels=grid_levels,
    )


def network(name, seed=0):
    """A head with the random weights of its layout's spread, without torch's generators."""
    head, rng = NETWORKS[name][1](1, 1), np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.2, parameter.shape)))
    return head


def images(name, rows, seed=1):
    values = np.random.default_rng(seed).normal(0.5, 0.3, (rows, *SHAPES[name]))
    return torch.from_numpy(values.astype(np.float32))


def labels(rows):
    return torch.arange(rows) % 2


def loss_sum(outputs, target):
    return weighted_loss_sum(outputs, target, weights_K=torch.tensor([0.5, 8.0]))


def private_step(net, *, plan=None, lr=1.0, divisor=1.0, physical_batch=64):
    return PrivateStep(
        net,
        torch.optim.SGD(net.parameters(), lr=lr),
        loss_sum=loss_sum,
        privacy=plan or privacy(),
        divisor=divisor,
        physical_batch=physical_batch,
    )


def released(net, x, target, *, noise=0, plan=None, **options):
    """What one step of SGD with learning rate 1 took away from the parameters of a copy."""
    net = copy.deepcopy(net)
    before = vector(net)
    private_step(net, plan=plan, **options)(x, target, noise=stream(noise))
    return before - vector(net)


def vector(net):
    return np.concatenate([p.detach().numpy().astype(np.float64).reshape(-1) for p in net.parameters()])


def clipped_sum(net, x, target):
    """The sum of clipped gradients itself, in float64, before the grid."""
    wrapped = GradSampleModule(copy.deepcopy(net), loss_reduction="sum")
    optimizer = PatientOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=1.0), privacy=privacy(), divisor=1.0
    )
    loss_sum(wrapped(x), target).backward()
    optimizer.clip_and_accumulate()
    return optimizer.clipped_sum


def gradient_of_one(net, x, target):
    """The reference: autograd on a batch of one."""
    gradients = torch.autograd.grad(loss_sum(net(x[None]), target[None]), list(net.parameters()))
    return torch.cat([g.reshape(-1) for g in gradients])


@pytest.mark.parametrize("name", SHAPES)
def test_the_gradient_of_every_patient_is_that_of_a_batch_of_one(name):
    net, x, target = network(name), images(name, 7), labels(7)
    wrapped = GradSampleModule(copy.deepcopy(net), loss_reduction="sum")
    loss_sum(wrapped(x), target).backward()
    rows = torch.cat([p.grad_sample.flatten(1) for p in wrapped.parameters()], dim=1)
    for row, x_1, target_1 in zip(rows, x, target, strict=True):
        expected = gradient_of_one(net, x_1, target_1)
        assert (row - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_a_standardised_convolution_pulls_the_gradient_back_to_its_raw_weight(kernel, stride):
    net = nn.Sequential(
        StandardisedConv2d(2, 3, kernel, stride=stride), nn.Flatten(), nn.Linear(48, 1)
    ).double()
    rng = np.random.default_rng(0)
    side = 4 * stride
    x = torch.from_numpy(rng.normal(size=(5, 2, side, side)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=parameter.shape)))
    wrapped = GradSampleModule(copy.deepcopy(net), loss_reduction="sum")
    wrapped(x).square().sum().backward()
    for n in range(5):
        expected = torch.autograd.grad(net(x[n : n + 1]).square().sum(), list(net.parameters()))
        for parameter, gradient in zip(wrapped.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad_sample[n], gradient, rtol=1e-10, atol=1e-12)


def worst_patients(shape):
    rng = np.random.default_rng(5)
    constant = np.full(shape, 0.6)
    hot = np.zeros(shape)
    hot[0, 1, 1] = 1.0
    return {
        "zero": np.zeros(shape),
        "constant": constant,
        "textured": constant * (1 + 1e-3 * rng.normal(size=shape)),
        "hot pixel": hot,
        "huge": 1e4 * rng.normal(size=shape),
    }


@pytest.mark.parametrize("patient", ["zero", "constant", "textured", "hot pixel", "huge"])
@pytest.mark.parametrize("name", SHAPES)
def test_one_patient_more_moves_the_clipped_sum_by_at_most_the_clip(name, patient):
    net, x = network(name), images(name, 6)
    worst = torch.from_numpy(worst_patients(SHAPES[name])[patient].astype(np.float32))[None]
    for target in (0, 1):  # class weights 0.5 and 8: the factor is inside the clip
        labels_7 = torch.cat([labels(6), torch.tensor([target])])
        more = clipped_sum(net, torch.cat([x, worst]), labels_7)
        moved = np.linalg.norm(more - clipped_sum(net, x, labels(6)))
        assert 0 < moved <= CLIP * (1 + 1e-4)


def test_a_gradient_inside_the_clip_is_left_as_it_is():
    net, x, target = network("scatter"), images("scatter", 1), torch.tensor([0])
    with torch.no_grad():
        net.head.weight.mul_(0).add_(1e-3)
        net.head.bias.fill_(-9.0)  # sure of class 0: a small gradient
    expected = gradient_of_one(net, x[0], target[0]).double().numpy()
    assert np.linalg.norm(expected) < CLIP
    np.testing.assert_allclose(clipped_sum(net, x, target), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_row_without_a_finite_gradient_counts_as_zero(spoilt):
    net, x, target = network("scatter"), images("scatter", 5), labels(5)
    without = clipped_sum(net, x[1:], target[1:])
    x[0] = spoilt
    np.testing.assert_allclose(clipped_sum(net, x, target), without, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_an_empty_batch_releases_noise_and_counts_as_a_step(name):
    net = network(name)
    x, target = images(name, 0), labels(0)
    plan = privacy(noise_multiplier=1.0, grid_levels=100)
    assert not released(net, x, target).any()
    assert np.linalg.norm(released(net, x, target, plan=plan)) > CLIP
    step = private_step(net, plan=plan)
    step(x, target, noise=stream())
    assert step.optimizer.noisy_steps == 1


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("physical_batch", [1, 4, 5])
def test_the_physical_batch_changes_the_sum_by_float32_rounding_only(name, physical_batch):
    net, x, target = network(name), images(name, 9), labels(9)
    whole = released(net, x, target, physical_batch=64)
    parts = released(net, x, target, physical_batch=physical_batch)
    np.testing.assert_allclose(parts, whole, atol=2e-6)


def test_the_physical_batch_does_not_change_the_noise_or_the_number_of_steps():
    net, x, target = network("scatter"), images("scatter", 9), labels(9)
    plan = privacy(noise_multiplier=1.0, grid_levels=100)
    whole, parts = (released(net, x, target, plan=plan, physical_batch=size) for size in (64, 2))
    assert np.abs(parts - whole).max() <= 1.01 * Grid.of(whole.size, max_grad_norm=CLIP, grid_levels=100).step
    step = private_step(net, physical_batch=2)
    step(x, target, noise=stream())
    assert step.optimizer.noisy_steps == 1


def test_the_released_sum_is_divided_by_the_constant_and_not_by_who_came():
    net = network("scatter")
    x, target = images("scatter", 6), labels(6)
    np.testing.assert_allclose(
        released(net, x, target, divisor=40.0), released(net, x, target) / 40.0, atol=1e-7
    )


def test_what_the_optimiser_sees_lies_on_the_grid():
    net, x, target = network("scatter"), images("scatter", 3), labels(3)
    seen = []
    step = private_step(net, plan=privacy(noise_multiplier=1.0, grid_levels=100))
    step.optimizer.attach_step_hook(lambda o: seen.append(torch.cat([p.grad.reshape(-1) for p in o.params])))
    step(x, target, noise=stream())
    grid = Grid.of(seen[0].numel(), max_grad_norm=CLIP, grid_levels=100)
    levels = seen[0].double().numpy() / grid.step
    assert np.abs(levels - np.rint(levels)).max() < 2e-2  # a float32 of a few hundred levels


def test_a_step_without_a_noise_stream_of_its_own_is_refused():
    net = network("scatter")
    wrapped = GradSampleModule(net, loss_reduction="sum")
    optimizer = PatientOptimizer(torch.optim.SGD(net.parameters(), lr=1.0), privacy=privacy(), divisor=1.0)
    optimizer.use_noise(stream())
    for refused in (False, True):
        loss_sum(wrapped(images("scatter", 2)), labels(2)).backward()
        if refused:
            with pytest.raises(RuntimeError, match="noise stream"):
                optimizer.step()
        else:
            optimizer.step()
            optimizer.zero_grad()


def test_a_second_step_on_the_same_gradient_is_refused():
    net = network("scatter")
    step = private_step(net)
    step(images("scatter", 2), labels(2), noise=stream())
    step.optimizer.use_noise(stream(1))
    with pytest.raises(ValueError, match="not initialized"):
        step.optimizer.step()


def test_no_raw_gradient_is_left_behind():
    net = network("scatter")
    private_step(net)(images("scatter", 2), labels(2), noise=stream())
    assert all(p.grad is None and p.grad_sample is None for p in net.parameters())


class _Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))


class _Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, affine=False, track_running_stats=False),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.Dropout(),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        _Buffered(),
        _Unknown(),
    ],
)
def test_a_network_whose_rows_meet_or_are_remembered_is_refused(module):
    net = nn.Sequential(module, nn.Linear(2, 1))
    with pytest.raises(PrivacyError) as caught:
        check_clippable(net, torch.optim.SGD(net.parameters(), lr=1.0))
    assert caught.value.code == "privacy.unclippable"


def test_a_trained_parameter_that_is_not_noised_is_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    partial = torch.optim.SGD(net[0].parameters(), lr=1.0)
    with pytest.raises(PrivacyError):
        check_clippable(net, partial)
    net[1].requires_grad_(False)
    check_clippable(net, partial)


def test_a_model_of_the_package_is_accepted():
    for name in NETWORKS:
        net = network(name)
        check_clippable(net, torch.optim.SGD(net.parameters(), lr=1.0))


@pytest.mark.statistical
def test_the_noise_in_a_training_step_has_the_plans_deviation_in_every_tensor():
    """Chi-square per tensor accepts the plan's sigma and rejects two thirds and three halves of it."""
    net, x, target = network("scatter"), images("scatter", 12), labels(12)
    sigma, repetitions = 1.3, 120
    quiet = released(net, x, target, plan=privacy(grid_levels=100))
    plan = privacy(noise_multiplier=sigma, grid_levels=100)
    noise = np.stack([released(net, x, target, plan=plan, noise=n) - quiet for n in range(repetitions)])
    step = Grid.of(quiet.size, max_grad_norm=CLIP, grid_levels=100).step
    sensitivity = Grid.of(quiet.size, max_grad_norm=CLIP, grid_levels=100).sensitivity
    start = 0
    for parameter in net.parameters():
        piece = noise[:, start : start + parameter.numel()] / (step * sensitivity)
        start += parameter.numel()
        for wrong in (2 / 3, 1.0, 3 / 2):
            square = (piece / (sigma * wrong)) ** 2
            tail = stats.chi2.cdf(square.sum(), square.size)
            p_value = 2 * min(tail, 1 - tail)
            assert (p_value > 1e-4) == (wrong == 1.0)
    correlation = np.sum(noise[:-1] * noise[1:]) / np.sum(noise**2)
    assert abs(correlation) < 5 / np.sqrt(noise.size)


def test_the_loss_is_the_cross_entropy_with_a_zero_logit_for_the_first_class():
    logits, target = torch.tensor([[0.3], [-1.2], [2.0]]), torch.tensor([0, 1, 1])
    both = torch.cat([torch.zeros(3, 1), logits], dim=1)
    expected = functional.cross_entropy(both, target, weight=torch.tensor([0.5, 8.0]), reduction="sum")
    torch.testing.assert_close(loss_sum(logits, target), expected)
