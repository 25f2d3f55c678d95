"""Views of an image: image and mask move together, views repeat, crops keep the objects."""

import numpy as np
import pytest
import torch

from fsslib.episodes.augmentation import KEPT, fresh, view_of_image, view_of_mask

SIZE = 64


def picture(shape=(60, 80), box=(20, 40, 30, 60)):
    """An image whose red channel is the mask's object: what one shows, the other must mark."""
    mask = np.zeros(shape, np.uint8)
    top, bottom, left, right = box
    mask[top:bottom, left:right] = 3
    image = np.full((*shape, 3), 40, np.uint8)
    image[..., 0] = np.where(mask == 3, 240, 40)
    return image, mask


@pytest.mark.parametrize("view", range(12))
@pytest.mark.parametrize("resize", ["pad", "square"])
def test_image_and_mask_move_together(view, resize):
    image, mask = picture()
    moved = view_of_image(image, mask, SIZE, resize, view, 7)
    labels = view_of_mask(mask, SIZE, resize, view, 7)
    assert moved.shape == (3, SIZE, SIZE) and moved.dtype == torch.float32 and 0 <= moved.min() and moved.max() <= 1
    assert labels.shape == (SIZE, SIZE) and set(labels.unique().tolist()) <= {0, 3, 255}
    shown, marked = moved[0] > 0.55, labels == 3
    assert (shown & marked).sum() / (shown | marked).sum() > 0.85          # outlines may differ by a pixel


def test_the_first_two_are_the_plain_one_and_its_mirror_image():
    image, mask = picture()
    plain, mirror = (view_of_image(image, mask, SIZE, "pad", v, 0) for v in (0, 1))
    assert torch.equal(mirror, plain.flip(-1)) and not torch.equal(mirror, plain)
    assert torch.equal(view_of_mask(mask, SIZE, "pad", 1, 0), view_of_mask(mask, SIZE, "pad", 0, 0).flip(-1))


def test_a_view_is_the_same_whenever_it_is_asked_for():
    image, mask = picture()
    torch.manual_seed(1)
    one = view_of_image(image, mask, SIZE, "pad", 5, 7)
    torch.manual_seed(2)
    assert torch.equal(one, view_of_image(image, mask, SIZE, "pad", 5, 7))
    assert not torch.equal(one, view_of_image(image, mask, SIZE, "pad", 6, 7))
    assert not torch.equal(one, view_of_image(image, mask, SIZE, "pad", 5, 8))


def test_a_crop_keeps_the_objects():
    """A wide picture must be cut; the object at its right edge stays, in every view."""
    _, mask = picture((40, 200), (5, 35, 170, 195))
    kept = [(view_of_mask(mask, SIZE, "pad", view, 0) == 3).sum() for view in range(2, 40)]
    _, centred = picture((40, 200), (5, 35, 90, 115))
    whole = np.median([(view_of_mask(centred, SIZE, "pad", view, 0) == 3).sum() for view in range(2, 40)])
    assert np.mean([k >= KEPT * 0.75 * whole for k in kept]) > 0.9         # scales differ by 0.9..1.1, areas by 0.8..1.2


def test_all_changes_happen_and_stay_in_their_range():
    """Half of the views are mirrored, half turned; the object's area follows the square of the scale."""
    image, mask = picture((64, 64), (24, 40, 8, 24))                       # left of the middle
    labels = [view_of_mask(mask, 60, "pad", view, 0) for view in range(2, 202)]
    centres = np.array([np.argwhere(x.numpy() == 3).mean(0)[1] for x in labels])
    assert 0.35 < (centres > 30).mean() < 0.65                             # mirrored
    rectangles = np.mean([np.unique(np.argwhere(x.numpy() == 3)[:, 0], return_counts=True)[1].std() == 0 for x in labels])
    assert 0.3 < rectangles < 0.75                                         # not turned
    side = 16 * 60 / 64 * 500 / 473
    areas = np.array([(x == 3).sum() for x in labels]) / side ** 2
    assert 0.9 ** 2 * 0.85 < areas.min() < 0.95 and 1.05 < areas.max() < 1.1 ** 2 * 1.15


def test_void_is_replaced_in_the_picture_and_never_outside_of_it():
    image, mask = picture()
    mask[:5] = 255
    for view in (0, 1, 2, 9):
        kept, replaced = (view_of_mask(mask, SIZE, "pad", view, 3, void) for void in (255, 0))
        assert torch.equal(kept == 3, replaced == 3) and ((kept != replaced) == ((kept == 255) & (replaced == 0))).all()
        assert (replaced == 255).any() or view >= 2
    assert (view_of_mask(mask, SIZE, "pad", 0, 3, 0) == 255).sum() == (SIZE - 48) * SIZE


def test_fresh_views_differ():
    torch.manual_seed(0)
    drawn = [fresh() for _ in range(100)]
    assert len(set(drawn)) == 100 and min(drawn) >= 2
