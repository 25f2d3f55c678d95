"""Views: two random looks at the same image, two at the same superpixel patch."""

import math

import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from ..basics.seeds import stream
from ..superpixels.patches import crop_patch, large_patches


def moco_augmentation(size):
    """MoCo v2's random view: uint8 (3,h,w) -> float32 (3,size,size) in 0..1.

    Crop of 20 to 100 % of the area, colour jitter (0.4, 0.4, 0.4, 0.1; in four cases of five), grey (one of five),
    blur (one of two), flip. The blur's sigma, 0.1 to 2 px at MoCo's 224 px, shrinks with ``size``.
    """
    sigma = 2 * size / 224
    return v2.Compose([
        v2.RandomResizedCrop(size, scale=(0.2, 1), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(2 * math.ceil(2 * sigma) + 1, (0.05 * sigma, sigma))], p=0.5),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True)])


class ContrastViews(Dataset):
    """The views that step after step of a pretraining sees: ``views[t]``, t = step * batch + place in the batch.

    ``images``: indices into ``dataset``; every epoch visits them in a new order and drops the last, incomplete
    ``batch`` (of all processes together) · ``cache``: label maps of the superpixels (PatchCache) · ``parts``: which
    views to make. What item t holds depends on (seed, t) alone, so a resumed run and any number of workers see the
    same. An item is a dict of float32 (2,3,S,S) in 0..1: ``"global"`` at ``size`` px, ``"local"`` at ``patch_size``
    px, one patch of at least ``min_area`` (times the data set's ``area_scale``) px, all with the same chance.
    """

    def __init__(self, dataset, images, config, cache, parts, batch):
        self.dataset, self.images, self.config, self.cache, self.parts = dataset, images, config, cache, parts
        self.per_epoch = len(images) // batch * batch
        self.augment = {"global": moco_augmentation(config.size), "local": moco_augmentation(config.patch_size)}

    def __len__(self):
        return self.config.epochs * self.per_epoch

    def image_of(self, t):
        """Index into the data set of item ``t``."""
        epoch, place = divmod(t, self.per_epoch)
        generator = torch.Generator().manual_seed(stream(self.config.seed, (1 << 31) + epoch))
        order = torch.randperm(len(self.images), generator=generator)
        return int(self.images[order[place]])

    def __getitem__(self, t):
        i = self.image_of(t)
        image = self.dataset.image(i)
        with torch.random.fork_rng(devices=[]):                # the caller's random numbers stay as they were
            torch.manual_seed(stream(self.config.seed, t))
            return {part: self._pair(part, image, i) for part in self.parts}

    def _pair(self, part, image, i):
        """float32 (2,3,S,S): two views of the image, or of one of its patches."""
        if part == "local":
            labels = self.cache[i]
            patches = large_patches(labels, self.config.min_area * self.dataset.area_scale)
            patch = patches[torch.randint(len(patches), ())]
            image = crop_patch(image, labels, patch, self.config.mask_patches)
        source = torch.from_numpy(image).permute(2, 0, 1)
        return torch.stack([self.augment[part](source) for _ in range(2)])
