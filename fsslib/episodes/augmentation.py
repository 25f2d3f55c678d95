"""Views of an image for training: the plain one, its mirror image, and PFENet's random changes.

A view is a number. 0 is the plain picture, 1 its mirror image, every number from 2 up a random scale, rotation, blur,
mirroring and crop that depend on (view, image) alone. So the same view can be computed today for an image and
tomorrow for its mask, and features of a few fixed views can be kept (``models.FeatureBank``).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from ..basics.seeds import stream
from .transforms import IMAGENET_MEAN, image_to_input, mask_to_input, nearest

LONG_SIDE = 500 / 473        # of a VOC photo over PFENet's crop: its training pictures are cut, not shrunk
SCALES, DEGREES, KEPT, TRIES = (0.9, 1.1), 10.0, 0.85, 31


def view_of_image(image, mask, size, resize, view, index):
    """``image`` uint8 (H,W,3) with its ``mask`` uint8 (H,W) -> float32 (3,size,size) in 0..1, view number ``view``.
    Views 0 and 1 do not look at the mask, which may then be None."""
    if view < 2:
        return mirrored(image_to_input(image, size, resize), view)
    picture = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1).float() / 255)
    return _Change(mask, size, view, index)(picture).as_subclass(torch.Tensor)


def view_of_mask(mask, size, resize, view, index, void=255):
    """``mask`` uint8 (H,W) -> uint8 (size,size), where ``view_of_image`` puts the picture; outside of it 255, and
    ``void`` in place of the mask's own 255."""
    change = view >= 2 and _Change(mask, size, view, index)
    mask = np.where(mask == 255, np.uint8(void), mask)
    if change:
        return change(_as_mask(mask)).as_subclass(torch.Tensor)
    return mirrored(mask_to_input(mask, size, resize), view)


def mirrored(x, view):
    return x.flip(-1) if view == 1 else x


def fresh():
    """A view number that nobody has seen, from torch's generator: for training without a bank."""
    return 2 + int(torch.randint(2 ** 31, ()))


class _Change:
    """PFENet's augmentation with all its numbers drawn: scale 0.9..1.1, with probability 1/2 each a rotation by up to
    10 degrees, a 5x5 Gaussian blur, a mirroring; then a crop, drawn again (31 times at most) until it keeps 85 % of
    the object pixels. PFENet looks at the episode's class for that; a view serves every class, so all objects count.
    """

    def __init__(self, mask, size, view, index):
        self.generator = torch.Generator().manual_seed(stream(view, index))
        long_side = size * LONG_SIDE * self.uniform(*SCALES)
        self.size, self.shape = size, [max(8, round(side * long_side / max(mask.shape))) for side in mask.shape]
        self.degrees = self.uniform(-DEGREES, DEGREES) if self.uniform(0, 1) < 0.5 else 0.0
        self.blurred, self.mirrored = self.uniform(0, 1) < 0.5, self.uniform(0, 1) < 0.5
        objects = self.moved(_as_mask(mask))
        objects = (objects > 0) & (objects < 255)
        for _ in range(TRIES):
            self.corner = [int(self.uniform(0, max(side - size, 0) + 1)) for side in objects.shape[-2:]]
            if self.cut(objects, False).sum() >= KEPT * objects.sum():
                break

    def uniform(self, low, high):
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def __call__(self, picture):
        if isinstance(picture, tv_tensors.Mask):
            return self.cut(self.moved(picture), 255)[0]
        moved = self.moved(picture)
        if self.blurred:
            moved = v2.functional.gaussian_blur(moved, [5, 5])
        mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        return self.cut(moved - mean, 0.0) + mean                            # outside of the picture: the mean colour

    def moved(self, picture):
        """Resized, rotated, mirrored: (...,h,w), images bilinear, masks nearest (chosen by their tv_tensors type)."""
        is_mask = isinstance(picture, tv_tensors.Mask)
        picture = (tv_tensors.Mask(torch.from_numpy(nearest(picture[0].numpy(), *self.shape))[None]) if is_mask
                   else v2.functional.resize(picture, self.shape, antialias=False))
        if self.degrees:
            picture = v2.functional.rotate(picture, self.degrees, fill=255 if is_mask else list(IMAGENET_MEAN),
                                           interpolation=InterpolationMode.NEAREST if is_mask else
                                           InterpolationMode.BILINEAR)
        return v2.functional.horizontal_flip(picture) if self.mirrored else picture

    def cut(self, picture, outside):
        """A window of size x size; a picture that is smaller stands in its middle."""
        (top, left), size = self.corner, self.size
        picture = picture.as_subclass(torch.Tensor)[..., top:top + size, left:left + size]
        y, x = size - picture.shape[-2], size - picture.shape[-1]
        return F.pad(picture, (x // 2, x - x // 2, y // 2, y - y // 2), value=outside)


def _as_mask(mask):
    return tv_tensors.Mask(torch.from_numpy(mask)[None])                     # (1, H, W)
