"""A probe: do patches of the same class lie near each other, in images that the extractor has not seen?"""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from ..basics.errors import InputError
from ..episodes.transforms import image_to_input
from ..metrics import EpisodeScores

PURITY = 0.75           # share of a patch's labelled pixels that must be of one class for the patch to carry its name
SHARPNESS = 0.07        # a neighbour's vote weighs exp(cosine / 0.07), as in MoCo's k-NN monitor


def majority_classes(labels, mask, min_area):
    """int (n,): class 1..C of each superpixel that is one object's part, else 0 (background, mixed, void, small).

    ``labels`` int (H,W), ``mask`` uint8 (H,W). Pixels of 255 do not count.
    """
    n = int(labels.max()) + 1
    counts = np.bincount(labels.ravel().astype(np.int64) * 256 + mask.ravel(), minlength=256 * n).reshape(n, 256)
    counts = counts[:, :255]                                                        # void left out
    best, total = counts.argmax(1), counts.sum(1)
    pure = counts.max(1) >= PURITY * np.maximum(total, 1)
    return np.where(pure & (total >= min_area), best, 0)


def patch_features(feature_map, labels, patches):
    """float32 (P,C): mean of a feature map (C,h,w) over each of ``patches``, ids in ``labels`` int (H,W).

    A feature stands for the H/h x W/w pixels it covers and is weighed by how many of them belong to the patch.
    """
    (C, h, w), (H, W) = feature_map.shape, labels.shape
    cell = (np.arange(H) * h // H)[:, None] * w + (np.arange(W) * w // W)           # (H, W): which feature
    n = int(labels.max()) + 1
    weights = np.bincount(labels.ravel().astype(np.int64) * (h * w) + cell.ravel(), minlength=n * h * w)
    weights = torch.from_numpy(weights.reshape(n, h * w)[patches]).float()
    return (weights @ feature_map.reshape(C, -1).T) / weights.sum(1, keepdim=True)   # (P, C)


@torch.no_grad()
def encode_patches(backbone, dataset, patches, cache, size):
    """float32 (P,C), unit length: layer4 over each patch, in the order of ``patches``, a dict image index -> patch ids.

    ``backbone``: a Backbone, seen in eval mode · ``cache``: label maps · ``size``: input side in px.
    """
    backbone, rows = copy.deepcopy(backbone).eval(), []
    device = next(backbone.parameters()).device
    for i, ids in patches.items():
        image = image_to_input(dataset.image(i), size, "square")[None].to(device)
        rows.append(patch_features(backbone(image)["layer4"][0].float().cpu(), cache[i], ids))
    return F.normalize(torch.cat(rows), dim=1)


class PatchProbe:
    """k nearest neighbours among patches of training images vote on the class of patches in held-out images.

    ``bank``, ``queries``: indices of labelled images, no image in both · ``cache``: their superpixels · ``size``:
    input side in px · ``k``: neighbours. Only patches of objects take part; the score is the accuracy averaged over
    the classes, chance 1 / C. Background would be the easy answer for most patches, and is no class.
    """

    def __init__(self, dataset, bank, queries, cache, size=225, k=10, min_area=400):
        self.dataset, self.cache, self.size, self.k = dataset, cache, size, k
        self.named = {part: self._labelled(images, min_area) for part, images in (("bank", bank), ("queries", queries))}
        self.known, self.asked = ([(i, c) for i, patches in self.named[part].items() for c in patches.values()]
                                  for part in ("bank", "queries"))          # (image, class) a patch, in their order
        self.classes = sorted({c for _, c in self.known} & {c for _, c in self.asked})
        if not self.classes or len(self.known) < k:
            raise InputError("probe", f"{len(self.known)} object patches to learn from, {len(self.asked)} to ask",
                             f"at least {k}, with a common class",
                             "Draw masks for more images; a pretraining goes without the probe: --probe-every 0.")

    def _labelled(self, images, min_area):
        """dict image index -> dict patch id -> class, without images that have no such patch."""
        found = {}
        for i in images:
            classes = majority_classes(self.cache[i], self.dataset.mask(i), min_area)
            found[int(i)] = {int(p): int(classes[p]) for p in np.flatnonzero(classes)}
        return {i: patches for i, patches in found.items() if patches}

    def features(self, backbone, part):
        """float32 (P,C), unit length: the patches of ``"bank"`` or ``"queries"``, in their order."""
        return encode_patches(backbone, self.dataset, {i: [*p] for i, p in self.named[part].items()}, self.cache,
                              self.size)

    def vote(self, bank, queries):
        """int (P,): the class that the k nearest patches of the bank give to each query, by weighted vote."""
        near, at = (queries @ bank.T).topk(self.k, dim=1)                            # (P, k)
        names = torch.tensor([c for _, c in self.known])[at]
        votes = torch.zeros(len(queries), 256).scatter_add_(1, names, ((near - near.max()) / SHARPNESS).exp())
        return votes.argmax(1).numpy()

    def score(self, backbone):
        """EpisodeScores whose "intersection" is hits and whose "union" is patches asked: its miou() is the mean
        accuracy over classes, its intervals and differences are bootstraps over held-out images."""
        said = self.vote(self.features(backbone, "bank"), self.features(backbone, "queries"))
        scores, hits = EpisodeScores(self.classes, absent="ignored"), {}
        for (i, truth), answer in zip(self.asked, said):
            if truth in self.classes:
                hits.setdefault((i, truth), []).append(int(answer == truth))
        scores.rows = [(self.dataset.ids[i], [c], [sum(right)], [len(right)], (0, 1), (sum(right), len(right)))
                       for (i, c), right in hits.items()]
        return scores


def probe_summary(scores):
    """Plain values for JSON: ``accuracy`` (percent, mean over classes) with its 95 % ``interval``, ``per_class``, the
    number of patches ``asked``, and ``scores``, from which ``EpisodeScores.from_dict`` makes paired differences."""
    return {"accuracy": round(100 * scores.miou(), 2),
            "interval": [round(100 * v, 2) for v in scores.intervals()["miou"]],
            "per_class": {str(c): round(100 * v, 2) for c, v in scores.per_class().items()},
            "asked": int(sum(row[3][0] for row in scores.rows)), "scores": scores.to_dict()}
