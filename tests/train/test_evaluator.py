"""Errors are counted correctly: top-1, top-5, averages over ten views, every sample once."""

from collections.abc import Iterable
from typing import cast

import pytest
import torch

from freelight.pipeline import Batch, CenterCrop, Loader, TenCrop, Transform
from freelight.shards import Dataset
from freelight.train import Errors, Network, evaluate, predict
from freelight.train.evaluator import label_ranks


class Reader(torch.nn.Module):
    """A fake network: an image's first pixels are its logits, (N, 3, H, W) -> (N, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.ndim == 4
        self.seen += len(images)
        return images.flatten(1)[:, : self.classes]


def reader(classes: int) -> Network:
    return cast(Network, Reader(classes))


def batch(logits: torch.Tensor, labels: Iterable[int]) -> Batch:
    """Wrap (n, classes) or (n, views, classes) logits as images that `Reader` reads."""
    images = torch.zeros(*logits.shape[:-1], 3, 4, 4)
    images.flatten(-3)[..., : logits.shape[-1]] = logits
    return Batch(images, torch.tensor(list(labels)))


def test_top1_and_top5_count_labels_outside_the_best_one_and_five() -> None:
    """Class k has the k-th best score, so a label of 0 is right, 1 to 4 are within five, 5 and more are not."""
    falling = torch.arange(8.0, 0, -1).repeat(8, 1)
    errors = evaluate(reader(8), [batch(falling[:5], [0, 4, 5, 0, 7]), batch(falling[:3], [1, 2, 6])])
    assert errors == Errors(images=8, wrong_top1=6, wrong_top5=3)
    assert (errors.top1, errors.top5) == (6 / 8, 3 / 8)


def test_with_fewer_than_five_classes_nothing_is_outside_the_best_five() -> None:
    errors = evaluate(reader(3), [batch(torch.tensor([[3.0, 2, 1], [3, 2, 1]]), [0, 2])])
    assert errors == Errors(images=2, wrong_top1=1, wrong_top5=0)


def test_views_are_averaged_as_probabilities_not_as_logits() -> None:
    """One view is very sure of class 0, nine slightly prefer 1: averaged logits give 0, averaged probabilities give
    1."""
    views = torch.tensor([[30.0, 0.0], *[[0.0, 2.0]] * 9])[None]
    assert views.mean(dim=1).argmax() == 0
    ((probabilities, labels),) = predict(reader(2), [batch(views, [1])])
    torch.testing.assert_close(probabilities, views.softmax(dim=2).mean(dim=1))
    assert labels.tolist() == [1]
    assert evaluate(reader(2), [batch(views, [1])]).top1 == 0


def test_the_views_of_one_image_stay_together() -> None:
    logits = torch.randn(5, 10, 7, generator=torch.Generator().manual_seed(0))
    ((probabilities, _),) = predict(reader(7), [batch(logits, range(5))])
    torch.testing.assert_close(probabilities, logits.softmax(dim=2).mean(dim=1))


def test_of_equal_classes_the_first_comes_first() -> None:
    """A network with equal outputs for all classes is right only for the first one."""
    assert label_ranks(torch.full((4, 4), 0.25), torch.arange(4)).tolist() == [0, 1, 2, 3]


def test_a_network_whose_output_is_not_a_number_is_wrong_about_all() -> None:
    assert evaluate(reader(9), [batch(torch.full((3, 9), torch.nan), [0, 4, 8])]) == Errors(3, 3, 3)


@pytest.mark.parametrize("crop", [CenterCrop(), TenCrop()])
def test_each_sample_of_a_split_counts_once_also_in_the_short_last_batch(
    crop: CenterCrop | TenCrop, dataset: Dataset
) -> None:
    transform = Transform(crop=crop, mean="none")
    loader = Loader(dataset, "val", batch_size=8, transform=transform, order="sequential", num_threads=1)
    network = reader(10)
    assert evaluate(network, loader).images == 20
    assert network.seen == 20 * transform.views
    again = [labels for _, labels in predict(network, loader)]
    assert [len(labels) for labels in again] == [8, 8, 4]
    assert torch.cat(again).tolist() == dataset.split("val").samples["label"].tolist()


def test_evaluating_leaves_gradients_as_they_are() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4))
    evaluate(cast(Network, network), [batch(torch.zeros(2, 4), [0, 1])])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.is_grad_enabled()
