import numpy as np
import pytest
import torch

from wardround_simulations.tasks.generation.classifier import Classifier, Recipe, train_classifier
from wardround_simulations.tasks.generation.labelled import Labelled

SHORT = Recipe(steps=60)


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 3)])
def test_it_learns_any_number_of_classes_from_grey_and_from_colour(images, secret, classes, channels):
    train = images(240, 0, classes=classes, channels=channels, contrast=0.3)
    test = images(90, 1, classes=classes, channels=channels, contrast=0.3)
    classifier = train_classifier(train, classes=classes, secret=secret, recipe=SHORT)
    score_NK = classifier(test.images_NCHW)
    assert score_NK.shape == (90, classes)
    assert score_NK.sum(axis=1) == pytest.approx(1)
    assert (score_NK.argmax(axis=1) == test.label_N).mean() > 0.9


def test_the_same_secret_gives_the_same_classifier_whatever_torch_drew_before(images, secret):
    data = images(60, 0)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one = train_classifier(data, classes=2, secret=secret, recipe=Recipe(steps=5))(data.images_NCHW)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(2)
    same = train_classifier(data, classes=2, secret=secret, recipe=Recipe(steps=5))(data.images_NCHW)
    other = train_classifier(data, classes=2, secret=secret[::-1], recipe=Recipe(steps=5))(data.images_NCHW)
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_it_has_the_parameters_of_the_small_model_and_their_initial_spread(images, secret):
    network = train_classifier(images(4, 0), classes=2, secret=secret, recipe=Recipe(steps=0)).network
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_801
    weights = [parameter.detach() for parameter in network.parameters() if parameter.ndim > 1]
    assert [tuple(weight.shape) for weight in weights] == [
        (16, 1, 5, 5),
        (32, 16, 3, 3),
        (64, 32, 3, 3),
        (1, 1024),
    ]
    for weight in weights:
        fan_in = weight[0].numel()
        assert float(weight.std()) * fan_in**0.5 == pytest.approx(1, rel=0.1)
        assert float(weight.abs().max()) <= (3 / fan_in) ** 0.5
    vectors = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    assert [set(vector.tolist()) for vector in vectors] == [{0.0}, {1.0}, {0.0}] * 3 + [{0.0}]


def test_a_rare_class_is_decided_for_where_the_image_speaks_for_it():
    class MeanGrey(torch.nn.Module):
        def forward(self, x_BCHW):
            return x_BCHW.mean(dim=(1, 2, 3))[:, None]

    dark, bright = np.full((1, 1, 4, 4), 0.0, np.float32), np.full((1, 1, 4, 4), 0.1, np.float32)
    images_NCHW = np.concatenate([dark, bright])  # the odds of class 1 are exp(-1) and exp(-0.8)
    for share, expected in ((0.5, [0, 0]), (0.3, [0, 1]), (0.1, [1, 1])):
        classifier = Classifier(network=MeanGrey(), share_K=np.array([1 - share, share]))
        assert classifier(images_NCHW).argmax(axis=1).tolist() == [0, 0]
        assert classifier.decide(images_NCHW).tolist() == expected


def test_a_class_that_was_never_seen_is_never_decided_for(images, secret):
    classifier = train_classifier(images(60, 0), classes=3, secret=secret, recipe=Recipe(steps=3))
    assert set(classifier.decide(images(60, 1, classes=3).images_NCHW)) <= {0, 1}


def test_no_image_has_no_score(images, secret):
    classifier = train_classifier(images(20, 0), classes=2, secret=secret, recipe=Recipe(steps=1))
    assert classifier(np.empty((0, 1, 16, 16), np.float32)).shape == (0, 2)


@pytest.mark.filterwarnings("error")
def test_arrays_that_may_not_be_written_to_serve_as_well(images, secret):
    data = images(20, 0)
    data.images_NCHW.flags.writeable = data.label_N.flags.writeable = False
    classifier = train_classifier(data, classes=2, secret=secret, recipe=Recipe(steps=1))
    assert classifier(data.images_NCHW).shape == (20, 2)


def test_labels_out_of_range_and_no_images_are_refused(images, secret):
    nothing = Labelled(images_NCHW=np.empty((0, 1, 16, 16), np.float32), label_N=np.empty(0, np.int64))
    for data in (nothing, images(6, 0, classes=3)):
        with pytest.raises(ValueError, match="expected images with labels below 2"):
            train_classifier(data, classes=2, secret=secret)


def test_images_and_labels_of_different_number_are_refused():
    with pytest.raises(ValueError, match="expected images"):
        Labelled(images_NCHW=np.zeros((2, 1, 16, 16), np.float32), label_N=np.zeros(3, np.int64))
