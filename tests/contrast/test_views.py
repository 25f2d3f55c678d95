"""Views: what item t holds depends on (seed, t) alone, and comes from the image and the patch it should."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from fsslib.contrast import PretrainConfig, views
from fsslib.contrast.views import ContrastViews, moco_augmentation
from fsslib.basics.seeds import stream
from fsslib.superpixels.cache import PatchCache

QUICK = PretrainConfig(epochs=3, batch=4, size=40, patch_size=32, seed=5)


class Pictures:
    """A data set and its label maps in memory; ``image(i)`` is a plain colour of its own unless given."""
    area_scale = 1.0

    def __init__(self, images, labels=None):
        self.images, self.labels = images, labels

    def image(self, i):
        return self.images[i]

    def __getitem__(self, i):
        return self.labels[i]


def plain(count):
    return Pictures([np.full((20, 30, 3), 10 * i, np.uint8) for i in range(count)])


def of(pictures, count=None, config=QUICK, parts=("global",), batch=4):
    return ContrastViews(pictures, np.arange(count or len(pictures.images)), config, pictures, parts, batch)


@pytest.fixture
def bare(monkeypatch):
    """Views without augmentation: the source as it is, so that its pixels can be checked."""
    monkeypatch.setattr(views, "moco_augmentation", lambda size: lambda image: image)


@pytest.fixture(scope="module")
def toy_views(toy):
    cache = PatchCache(toy)
    cache.fill(workers=1)
    return ContrastViews(toy, np.arange(22), QUICK, cache, ("global", "local"), 4)


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[part], other[part]) for part in one)


def test_shapes_and_range(toy_views):
    item = toy_views[7]
    assert set(item) == {"global", "local"}
    assert item["global"].shape == (2, 3, 40, 40) and item["local"].shape == (2, 3, 32, 32)
    for pair in item.values():
        assert pair.dtype == torch.float32 and 0 <= pair.min() < pair.max() <= 1
        assert not torch.equal(pair[0], pair[1])


def test_an_item_depends_on_seed_and_number_alone(toy, toy_views):
    torch.manual_seed(1)
    first = [toy_views[t] for t in (3, 30)]
    before = torch.random.get_rng_state()
    again = [toy_views[t] for t in (30, 3)][::-1]
    assert torch.equal(torch.random.get_rng_state(), before)          # the caller's random numbers go on
    assert all(map(same, first, again)) and not same(*first)
    other = ContrastViews(toy, np.arange(22), replace(QUICK, seed=6), toy_views.cache, ("global", "local"), 4)
    assert not same(other[3], first[0])
    assert [other.image_of(t) for t in range(20)] != [toy_views.image_of(t) for t in range(20)]
    one, two = (ContrastViews(toy, np.full(4, 3), replace(QUICK, seed=n), None, ("global",), 4) for n in (5, 6))
    assert same(one[2], one[2]) and not same(one[2], two[2])          # of the same image


def test_streams_of_small_seeds_never_meet():
    """A hundred seeds, each with a million items and with a million epochs 2^31 further on."""
    starts = np.array(sorted(stream(seed, n) for seed in range(100) for n in (0, 1 << 31)))
    assert np.diff(starts).min() > 1_000_000 and starts[0] + 2 ** 32 - starts[-1] > 1_000_000
    assert stream(3, 2 ** 32 - 5) < 2 ** 32


def test_workers_change_nothing(toy_views):
    loaded = [list(DataLoader(toy_views, batch_size=4, sampler=range(8, 16), num_workers=n)) for n in (0, 2)]
    assert len(loaded[0]) == 2 and all(map(same, *loaded))
    assert torch.equal(loaded[0][1]["local"][2], toy_views[14]["local"])


def test_every_epoch_visits_each_image_once_and_drops_an_incomplete_batch():
    images = np.array([3, 1, 4, 15, 9, 2, 6, 5, 35, 8])
    drawn = ContrastViews(None, images, QUICK, None, ("global",), 4)
    assert drawn.per_epoch == 8 and len(drawn) == 24
    epochs = [[drawn.image_of(8 * epoch + place) for place in range(8)] for epoch in range(3)]
    assert all(len(set(epoch)) == 8 and set(epoch) <= set(images) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and len({frozenset(epoch) for epoch in epochs}) > 1
    whole = ContrastViews(None, images[:8], QUICK, None, ("global",), 4)
    assert sorted(whole.image_of(t) for t in range(8, 16)) == sorted(images[:8])


def test_both_views_show_the_image_of_their_number(bare):
    drawn = of(plain(12))
    for t in range(24):
        assert drawn[t]["global"].shape == (2, 3, 20, 30)
        assert (drawn[t]["global"] == 10 * drawn.image_of(t)).all()


def two_colours():
    """Left 12 columns red, patch 0; the rest blue, patch 1, but for a blue corner that belongs to patch 0."""
    labels = np.zeros((20, 30), np.int32)
    labels[5:, 12:] = labels[:, 24:] = 1
    image = np.where(labels[..., None] == 0, [200, 0, 0], [0, 0, 180]).astype(np.uint8)
    return Pictures([image] * 4, [labels] * 4)


def test_local_views_are_the_box_of_one_patch_and_all_have_the_same_chance(bare):
    pictures = two_colours()
    config = PretrainConfig(epochs=100, batch=4, min_area=100, seed=5)
    drawn = of(pictures, config=config, parts=("local",))
    left, right = pictures.images[0][:, :24], pictures.images[0][:, 12:]
    shapes = []
    for t in range(400):
        pair = drawn[t]["local"].permute(0, 2, 3, 1).numpy()
        expected = left if pair.shape[2] == 24 else right
        np.testing.assert_array_equal(pair, np.stack([expected, expected]))
        shapes.append(pair.shape[2])
    assert 150 < shapes.count(24) < 250                                # 200 +- 10


def test_masked_patches_show_no_pixel_of_another(bare):
    pictures = two_colours()
    red = (pictures.labels[0] == 0).mean()
    mean = np.array([200 * red, 0, 180 * (1 - red)]).round()           # over the image: what is painted instead
    drawn = of(pictures, config=PretrainConfig(min_area=100, mask_patches=True), parts=("local",))
    seen = set()
    for t in range(12):
        colours = np.unique(drawn[t]["local"].permute(0, 2, 3, 1).reshape(-1, 3).numpy(), axis=0)
        own = [colour for colour in colours.tolist() if colour != mean.tolist()]
        assert own in ([[200, 0, 0]], [[0, 0, 180]]) and len(colours) == 2
        seen.add(str(own))
    assert len(seen) == 2


@pytest.mark.parametrize("area_scale, min_area, sizes", [
    (1.0, 50, {50, 450}), (1.0, 51, {450}), (0.1, 500, {50, 450}), (0.1, 510, {450}), (1.0, 400, {450}),
    (1.0, 451, {450}), (1.0, 1, {50, 450, 10})])
def test_only_patches_of_the_minimum_area(bare, area_scale, min_area, sizes):
    """Patches of 50, 450 and 10 px; where none is large enough the largest is taken."""
    labels = np.concatenate([np.full((10, 5), 0), np.full((10, 45), 1), np.full((10, 1), 2)], 1)
    pictures = Pictures([np.zeros((10, 51, 3), np.uint8)] * 4, [labels] * 4)
    pictures.area_scale = area_scale
    drawn = of(pictures, config=PretrainConfig(epochs=20, min_area=min_area), parts=("local",))
    assert {drawn[t]["local"][0, 0].numel() for t in range(80)} == sizes


@pytest.mark.parametrize("size", [32, 128, 224])
def test_moco_v2s_recipe(size):
    """The published numbers; the blur's sigma is a share of the view's side."""
    crop, jitter, grey, blur, flip, _ = moco_augmentation(size).transforms
    assert (crop.size, crop.scale, crop.ratio) == ((size, size), (0.2, 1), (3 / 4, 4 / 3))
    colours = jitter.transforms[0]
    assert (colours.brightness, colours.contrast, colours.saturation) == ((0.6, 1.4),) * 3
    assert colours.hue == (-0.1, 0.1) and (jitter.p, grey.p, blur.p, flip.p) == (0.8, 0.2, 0.5, 0.5)
    sigma, kernel = blur.transforms[0].sigma, blur.transforms[0].kernel_size[0]
    assert np.array(sigma) * 224 / size == pytest.approx([0.1, 2])
    assert kernel % 2 == 1 and kernel // 2 == math.ceil(2 * sigma[1])
    assert isinstance(crop, v2.RandomResizedCrop) and isinstance(flip, v2.RandomHorizontalFlip)


def test_how_often_each_step_of_the_recipe_is_taken():
    """A picture with a dark left and a coloured right half: 300 views, counted by what is left in them."""
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :, 32:] = torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None]
    augment = moco_augmentation(32)
    torch.manual_seed(0)
    seen = torch.stack([augment(image) for _ in range(300)])
    assert seen.dtype == torch.float32 and seen.shape == (300, 3, 32, 32)
    grey = (seen.std(1).amax((1, 2)) < 1e-3).float().mean()
    mirrored = (seen[..., 0].mean((1, 2)) > seen[..., -1].mean((1, 2)) + 0.05).float().mean()
    straight = (seen[..., -1].mean((1, 2)) > seen[..., 0].mean((1, 2)) + 0.05).float().mean()
    assert 0.12 < grey < 0.3 and mirrored / (mirrored + straight) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("height, width", [(8, 8), (1, 40), (3, 500)])
def test_images_of_any_shape(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pictures = Pictures([image] * 4, [np.zeros((height, width), np.int32)] * 4)
    item = of(pictures, parts=("global", "local"))[0]
    assert item["global"].shape == (2, 3, 40, 40) and item["local"].isfinite().all()
