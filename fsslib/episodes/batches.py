"""Episodes as tensors: what every model takes and gives."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..basics.errors import InputError
from ..basics.seeds import stream
from .augmentation import fresh, view_of_image, view_of_mask
from .transforms import check_geometry

MASKS_BYTES = 2 ** 28        # of decoded masks that EpisodeTensors keeps beside a bank: all of VOC val at 430 px


@dataclass
class EpisodeBatch:
    """B episodes, N ways, K shots, square inputs of S px.

    ``support_images`` float32 (B,N,K,3,S,S) in 0..1 · ``support_masks`` uint8 (B,N,K,S,S): 1 this way's class,
    0 background, 255 neither (another way's object, or not annotated) · ``query_images`` float32 (B,3,S,S) ·
    ``query_masks`` int64 (B,S,S): 0 background, n = way n, 255 ignored · ``class_ids`` int64 (B,N): what the ways are.

    With a frozen encoder, ``support_features`` (B,N,K,C,h,w) and ``query_features`` (B,C,h,w) may stand in for
    the images (``models.ModelBank``); the other pair is None. A model of several networks looks at the support with the first
    alone, so the query may have more channels.
    """
    support_masks: torch.Tensor
    query_masks: torch.Tensor
    support_images: torch.Tensor = None
    query_images: torch.Tensor = None
    support_features: torch.Tensor = None
    query_features: torch.Tensor = None
    class_ids: torch.Tensor = None

    def to(self, device):
        """The same batch on a device."""
        return replace(self, **{name: value.to(device, non_blocking=True)
                                for name, value in vars(self).items() if value is not None})

    def __len__(self):
        return len(self.query_masks)


@dataclass
class EpisodeOutput:
    """``logits`` float (B,1+N,S,S) at input size, channel 0 background · ``losses``: dict name -> scalar, summed for
    training, empty in eval mode · ``maps``: dict name -> tensor of what the model looked at, for pictures · ``presence``: float (B,)
    of a model that tells whether the class is in the query at all, above 0 yes; ``logits`` answer where, if so."""
    logits: torch.Tensor
    losses: dict = field(default_factory=dict)
    maps: dict = field(default_factory=dict)
    presence: torch.Tensor = None


class EpisodeTensors(torch.utils.data.Dataset):
    """Episode i of ``episodes`` as an EpisodeBatch of one; a map-style data set for a DataLoader.

    ``size``, ``resize``: see ``transforms.image_to_input``. ``views``: each image of support and query is one of its
    first so many views (``augmentation``), drawn by (``seed``, i) alone: 1 none, 2 mirroring, more PFENet's changes;
    0 draws new ones every time (not with a bank). ``annotate``: function of a support mask (S,S) with 1, 0, 255
    and the image's index that returns a weaker one (``annotations``). ``bank``: a ModelBank; features instead of
    images.
    """

    def __init__(self, episodes, size, resize, views=1, seed=0, annotate=None, bank=None):
        check_geometry(size, resize)
        if views < 0 or (bank is not None and not views):
            raise InputError("views", repr(views), "a whole number from 1 up" + (", or 0" if bank is None else ""),
                             "A bank holds a fixed number of views; give it, or do without the bank.")
        self.episodes, self.size, self.resize = episodes, size, resize
        self.views, self.seed, self.annotate, self.bank = views, seed, annotate, bank
        self._masks = {}

    def __len__(self):
        return len(self.episodes)

    def _read(self, index, kept, void):
        """float32 (3,S,S) or, from the bank's ``kept``, float (C,h,w); class ids uint8 (S,S), 255 replaced by ``void``.
        Padding stays 255: in a support image void is background (as in PANet), black padding is nothing."""
        dataset, geometry, view = self.episodes.dataset, (self.size, self.resize), self._draw_view()
        if kept is not None:
            return kept(index, view), self._mask(index, view, void)
        sample = dataset[index]
        return (view_of_image(sample.image, sample.mask, *geometry, view, index),
                view_of_mask(sample.mask, *geometry, view, index, void))

    def _mask(self, *key):
        """uint8 (S,S) of an index, view and void; decoded once, while there is room, as the bank computes features once."""
        if key in self._masks:
            return self._masks[key]
        index, view, void = key
        mask = view_of_mask(self.episodes.dataset.mask(index), self.size, self.resize, view, index, void)
        if len(self._masks) < MASKS_BYTES // self.size ** 2:
            self._masks[key] = mask
        return mask

    def picture(self, index):
        """(image or, with a bank, features, class ids uint8 (S,S) with 255 for void and padding) in a view that torch's generator
        draws: an image by itself, for what learns from no episode."""
        return self._read(index, self.bank and self.bank.support, 255)

    def _draw_view(self):
        if self.views == 0:
            return fresh()
        return self.views - 1 - int(self.views * torch.rand(())) if self.views > 1 else 0

    def __getitem__(self, i):
        episode = self.episodes[i]
        with torch.random.fork_rng(devices=[]):                # the model's dropout keeps its own stream
            torch.manual_seed(stream(self.seed, i))
            ways = [[self._read(j, self.bank and self.bank.support, 0) for j in way] for way in episode.support]
            query, query_mask = self._read(episode.query, self.bank and self.bank.query, 255)
        support = torch.stack([torch.stack([image for image, _ in way]) for way in ways])[None]
        masks = torch.stack([torch.stack([self._support_mask(mask, n, episode) for _, mask in way])
                             for n, way in enumerate(ways)])   # (N, K, S, S)
        if self.annotate:
            masks = torch.from_numpy(np.array([[self.annotate(mask.numpy(), j) for mask, j in zip(way, indices)]
                                               for way, indices in zip(masks, episode.support)]))
        kind = "images" if self.bank is None else "features"
        return EpisodeBatch(support_masks=masks[None], query_masks=query_labels(query_mask, episode.class_ids)[None],
                            class_ids=torch.tensor([episode.class_ids]),
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
