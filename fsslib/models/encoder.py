"""Encoders: which of a backbone's maps a model looks at, side by side in one tensor."""

from concurrent.futures import ThreadPoolExecutor

import torch

from ..basics.checkpoints import weights_digest
from ..basics.errors import InputError
from ..basics.storage import sha256_json

STRIDE = 8


class Encoder:
    """``backbone`` and names of ``maps``: images float (...,3,S,S) in 0..1 -> (...,C,h,w), the maps' channels in order,
    on the backbone's device. An image smaller than the stride raises InputError.
    """

    def __init__(self, backbone, maps):
        self.backbone, self.maps = backbone, tuple(maps)

    @property
    def channels(self):
        """Number of channels of each map."""
        return [self.backbone.channels[name] for name in self.maps]

    def __call__(self, images):
        if min(images.shape[-2:]) < STRIDE:
            raise InputError("image", f"{images.shape[-2]}x{images.shape[-1]} px", f"at least {STRIDE} px a side, "
                             "the stride of the features", "Give a larger image.")
        images = images.to(next(self.backbone.parameters()).device)
        flat = images.flatten(0, -4).contiguous(memory_format=torch.channels_last)
        alone = flat.device.type == "cpu" and not torch.is_grad_enabled()
        found = self._one_by_one(flat) if alone else self._side_by_side(flat)
        return found.contiguous().unflatten(0, images.shape[:-3])     # laid out as a bank gives it: equal rounding after it

    def _one_by_one(self, images):
        """An image a core: faster than a batch on all of them, and to the last bit an image's features depend neither
        on its neighbours nor on the number of cores."""
        def one(b):
            with torch.no_grad():                                     # a thread's own setting
                return self._side_by_side(images[b:b + 1])

        cores = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(min(cores, len(images))) as pool:
                return torch.cat(list(pool.map(one, range(len(images)))))
        finally:
            torch.set_num_threads(cores)

    def _side_by_side(self, images):
        found = self.backbone(images, blocks=any("." in name for name in self.maps))
        return torch.cat([found[name] for name in self.maps], 1)

    def split(self, features):
        """(...,C,h,w) -> the maps, in order; channels that follow them are left aside."""
        return features[..., :sum(self.channels), :, :].split(self.channels, dim=-3)

    def named(self, features):
        """As ``split``, a dict by the maps' names."""
        return dict(zip(self.maps, self.split(features)))

    @property
    def digest(self):
        """sha256 (hex) of the maps' names and the weights, as they are now."""
        return sha256_json([self.maps, weights_digest(self.backbone)])
