"""Episodes as tensors: what every model takes."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from .seeds import stream
from .transforms import check_geometry, image_to_input, mask_to_input


@dataclass
class EpisodeBatch:
    """B episodes, N ways, K shots, square inputs of S px.

    ``support_images`` float32 (B,N,K,3,S,S) in 0..1 · ``support_masks`` uint8 (B,N,K,S,S): 1 this way's class,
    0 background, 255 neither (another way's object, or not annotated) · ``query_images`` float32 (B,3,S,S) ·
    ``query_masks`` int64 (B,S,S): 0 background, n = way n, 255 ignored.

    With a frozen encoder, ``support_features`` (B,N,K,C,h,w) and ``query_features`` (B,C,h,w) may stand in for
    the images (``bank.FeatureBank``); the other pair is None.
    """
    support_masks: torch.Tensor
    query_masks: torch.Tensor
    support_images: torch.Tensor = None
    query_images: torch.Tensor = None
    support_features: torch.Tensor = None
    query_features: torch.Tensor = None

    def to(self, device):
        """The same batch on a device."""
        return replace(self, **{name: value.to(device, non_blocking=True)
                                for name, value in vars(self).items() if value is not None})

    def __len__(self):
        return len(self.query_masks)


class EpisodeTensors(torch.utils.data.Dataset):
    """Episode i of ``episodes`` as an EpisodeBatch of one; a map-style data set for a DataLoader.

    ``size``, ``resize``: see ``transforms.image_to_input``. ``augment``: flip support and query images, each with
    probability 1/2, seeded by (``seed``, i) alone. ``annotate``: function of a support mask (S,S) with 1, 0, 255
    and the image's index that returns a weaker one (``annotations``). ``bank``: features instead of images.
    """

    def __init__(self, episodes, size, resize, augment=False, seed=0, annotate=None, bank=None):
        check_geometry(size, resize)
        self.episodes, self.size, self.resize = episodes, size, resize
        self.augment, self.seed, self.annotate, self.bank = augment, seed, annotate, bank
        self.flip = v2.RandomHorizontalFlip(0.5)

    def __len__(self):
        return len(self.episodes)

    def _read(self, index, void):
        """float32 (3,S,S) or, from the bank, float (C,h,w); class ids uint8 (S,S), 255 replaced by ``void``.
        Padding stays 255: in a support image void is background (as in PANet), black padding is nothing."""
        dataset = self.episodes.dataset
        if self.bank is None:
            sample = dataset[index]
            image, mask = image_to_input(sample.image, self.size, self.resize), sample.mask
        else:
            image, mask = self.bank[index], dataset.mask(index)
        mask = mask_to_input(np.where(mask == 255, np.uint8(void), mask), self.size, self.resize)
        if self.augment:
            image, mask = self.flip(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)

    def __getitem__(self, i):
        episode = self.episodes[i]
        with torch.random.fork_rng(devices=[]):                # the model's dropout keeps its own stream
            torch.manual_seed(stream(self.seed, i))
            ways = [[self._read(j, 0) for j in way] for way in episode.support]
            query, query_mask = self._read(episode.query, 255)
        support = torch.stack([torch.stack([image for image, _ in way]) for way in ways])[None]
        masks = torch.stack([torch.stack([self._support_mask(mask, n, episode) for _, mask in way])
                             for n, way in enumerate(ways)])   # (N, K, S, S)
        if self.annotate:
            masks = torch.from_numpy(np.array([[self.annotate(mask.numpy(), j) for mask, j in zip(way, indices)]
                                               for way, indices in zip(masks, episode.support)]))
        kind = "images" if self.bank is None else "features"
        return EpisodeBatch(support_masks=masks[None], query_masks=query_labels(query_mask, episode.class_ids)[None],
                            **{f"support_{kind}": support, f"query_{kind}": query[None]})

    @staticmethod
    def _support_mask(mask, n, episode):
        """1 the class of way n; 255 padding and objects of the episode's other ways; 0 the rest."""
        label = torch.where(mask == 255, 255, 0).to(mask.dtype)
        for other in episode.class_ids:
            label[mask == other] = 255
        label[mask == episode.class_ids[n]] = 1
        return label


def query_labels(mask, class_ids):
    """Class ids (S,S) -> int64 (S,S): n for way n, 0 for every other class, 255 kept. Tensor in, tensor out."""
    label = torch.where(mask == 255, 255, 0).long()
    for n, c in enumerate(class_ids, 1):
        label[mask == c] = n
    return label


def collate(batches):
    """EpisodeBatches of one -> one EpisodeBatch; the ``collate_fn`` of a DataLoader."""
    def join(name):
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else torch.cat(parts)
    return EpisodeBatch(**{name: join(name) for name in EpisodeBatch.__dataclass_fields__})
