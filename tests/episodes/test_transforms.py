"""Geometry against loops written from the half-pixel rule, PIL, and a round trip."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fsslib.basics.errors import InputError
from fsslib.episodes.transforms import check_geometry, image_to_input, mask_to_input, nearest, padded_content, to_truth


def bilinear(image, height, width):
    """Half-pixel centres, edges repeated, no antialiasing: (H,W,C) float64 -> (height,width,C)."""
    H, W = image.shape[:2]
    out = np.empty((height, width, image.shape[2]))
    for y in range(height):
        for x in range(width):
            sy, sx = max((y + .5) * H / height - .5, 0), max((x + .5) * W / width - .5, 0)
            y0, x0 = int(sy), int(sx)
            y1, x1, dy, dx = min(y0 + 1, H - 1), min(x0 + 1, W - 1), sy - y0, sx - x0
            out[y, x] = ((1 - dy) * ((1 - dx) * image[y0, x0] + dx * image[y0, x1]) +
                         dy * ((1 - dx) * image[y1, x0] + dx * image[y1, x1]))
    return out


@pytest.mark.parametrize("shape, size, expected", [
    ((375, 500), 473, (352, 472)), ((500, 375), 473, (472, 352)), ((500, 500), 473, (472, 472)),
    ((375, 500), 225, (168, 224)), ((375, 500), 641, (480, 640)), ((3, 500), 225, (8, 224))])
def test_content_of_a_padded_square(shape, size, expected):
    assert padded_content(shape, size) == expected


@pytest.mark.parametrize("shape", [(30, 41), (41, 30)])
def test_pad_is_bilinear_at_half_pixels_with_black_below_and_right(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = image_to_input(image, 33, "pad")
    h, w = padded_content(shape, 33)
    assert found.shape == (3, 33, 33) and found.dtype == torch.float32
    np.testing.assert_allclose(found[:, :h, :w].permute(1, 2, 0), bilinear(image / 255, h, w), atol=1e-6)
    assert not found[:, h:].any() and not found[:, :, w:].any()


def test_square_is_pils():
    image = np.random.default_rng(1).integers(0, 256, (50, 80, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal((image_to_input(image, 40, "square") * 255).permute(1, 2, 0).round(), expected)


def test_masks_lie_where_images_lie():
    """A picture whose grey is its class id: after resizing, ids and greys agree away from edges."""
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50], mask[35:45, 5:15] = 1, 2
    image = np.repeat(mask[:, :, None] * 100, 3, 2)
    for resize in ("pad", "square"):
        small, ids = image_to_input(image, 41, resize), mask_to_input(mask, 41, resize)
        grey = (small[0] * 255 / 100).numpy()
        sure = np.abs(grey - grey.round()) < 0.01
        inside = ids.numpy() != 255
        assert (grey.round()[sure & inside] == ids.numpy()[sure & inside]).mean() > 0.97
        assert set(ids.unique().tolist()) == ({0, 1, 2, 255} if resize == "pad" else {0, 1, 2})
        assert ids.dtype == torch.uint8 and ids.shape == (41, 41)
    padded = mask_to_input(mask, 41, "pad")
    assert (padded[24:] == 255).all() and (padded[:, 40:] == 255).all() and (padded[:24, :40] != 255).all()


@pytest.mark.parametrize("shape, size", [((375, 500), 473), ((333, 500), 473), ((500, 334), 225), ((120, 160), 473)])
def test_labels_are_resized_as_the_official_code_does(shape, size):
    """Row y of the result is row floor(y * (H / h)), in exact fractions but for the quotient, which OpenCV keeps as a double."""
    y, x = np.indices(shape)
    h, w = padded_content(shape, size)
    for axis, (of, to) in enumerate(zip(shape, (h, w))):
        taken = nearest((y, x)[axis], h, w)
        assert np.moveaxis(taken, axis, 0)[:, 0].tolist() == [int(k * (of / to)) for k in range(to)]
        assert (np.ptp(taken, axis=1 - axis) == 0).all()                     # the other axis does not matter
    mask = np.random.default_rng(0).integers(0, 21, shape, dtype=np.uint8)
    assert (mask_to_input(mask, size, "pad")[:h, :w].numpy() == nearest(mask, h, w)).all()


def test_pad_down_keeps_a_small_image_and_shrinks_a_large_one():
    small, large = (np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((30, 41), (80, 100)))
    found = image_to_input(small, 65, "pad_down")
    np.testing.assert_allclose(found[:, :30, :41].permute(1, 2, 0), small / 255, atol=1e-6)
    assert not found[:, 30:].any() and not found[:, :, 41:].any()
    assert (mask_to_input(small[..., 0], 65, "pad_down")[:30, :41].numpy() == small[..., 0]).all()
    torch.testing.assert_close(image_to_input(large, 65, "pad_down"), image_to_input(large, 65, "pad"))


@pytest.mark.parametrize("resize", ["pad", "square"])
@pytest.mark.parametrize("shape", [(60, 80), (80, 60)])
def test_mask_and_back(resize, shape):
    """A mask that goes in as labels and comes back as logits keeps its place: IoU above 0.9."""
    y, x = np.indices(shape)
    mask = (((y - 30) ** 2 + (x - 33) ** 2) < 20 ** 2).astype(np.uint8)
    inner = mask_to_input(mask, 65, resize)
    logits = torch.stack([(inner != 1), (inner == 1)]).float()
    back = to_truth(logits, shape, resize).argmax(0).numpy()
    assert back.shape == shape
    assert (back & mask).sum() / (back | mask).sum() > 0.9


@pytest.mark.parametrize("shape", [(37, 50), (50, 37)])
def test_pad_is_scored_as_pfenet_scores(shape):
    """The whole square to the long side with align_corners=True (by hand: corners on corners), then the corner."""
    logits = torch.randn(2, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = to_truth(logits, shape, "pad")
    full = F.interpolate(logits[None], (50, 50), mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(found, full[:, :shape[0], :shape[1]])
    at = np.arange(50) * 32 / 49             # where output pixel i looks
    low = np.minimum(at.astype(int), 31)
    weights = np.zeros((50, 33))
    weights[range(50), low], weights[range(50), low + 1] = 1 - (at - low), at - low
    by_hand = weights @ logits.numpy() @ weights.T
    np.testing.assert_allclose(found, by_hand[:, :shape[0], :shape[1]], atol=1e-12)


@pytest.mark.parametrize("size, resize, word", [(31, "pad", "size"), (225.0, "pad", "size"), (225, "crop", "resize")])
def test_bad_geometry(size, resize, word):
    with pytest.raises(InputError, match=word):
        check_geometry(size, resize)
