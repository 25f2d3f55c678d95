"""A probe: do patches of the same class lie near each other, in images that the extractor has not seen?"""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..metrics import EpisodeScores
from ..transforms import image_to_input

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


class PatchProbe:
    """k nearest neighbours among patches of training images vote on the class of patches in held-out images.

    ``bank``, ``queries``: indices of labelled images, no image in both · ``cache``: their superpixels · ``size``:
    input side in px · ``k``: neighbours. Only patches of objects take part; the score is the accuracy averaged over
    the classes, chance 1 / C. Background would be the easy answer for most patches, and is no class.
    """

    def __init__(self, dataset, bank, queries, cache, size=225, k=10, min_area=400):
        self.dataset, self.size, self.k = dataset, size, k
        self.patches = {part: self._labelled(images, cache, min_area)
                        for part, images in (("bank", bank), ("queries", queries))}
        self.classes = sorted(set(self.patches["bank"]["class"]) & set(self.patches["queries"]["class"]))
        if not self.classes or len(self.patches["bank"]["class"]) < k:
            raise InputError("probe", f"{len(self.patches['bank']['class'])} object patches to learn from, "
                             f"{len(self.patches['queries']['class'])} to ask", f"at least {k}, with a common class",
                             "Give more labelled images, or a smaller min_area.")

    def _labelled(self, images, cache, min_area):
        found = {"image": [], "patch": [], "class": [], "labels": {}}
        for i in images:
            labels = cache[i]
            classes = majority_classes(labels, self.dataset.mask(i), min_area)
            patches = np.flatnonzero(classes)
            if len(patches):
                found["labels"][i] = labels
                found["image"] += [int(i)] * len(patches)
                found["patch"] += patches.tolist()
                found["class"] += classes[patches].tolist()
        return found

    @torch.no_grad()
    def features(self, backbone, part):
        """float32 (P,C), unit length: layer4 of the patches of ``"bank"`` or ``"queries"``, in their order."""
        backbone, rows = copy.deepcopy(backbone).eval(), []
        device = next(backbone.parameters()).device
        for i, labels in self.patches[part]["labels"].items():
            image = image_to_input(self.dataset.image(i), self.size, "square")[None].to(device)
            ids = [p for p, j in zip(self.patches[part]["patch"], self.patches[part]["image"]) if j == i]
            rows.append(patch_features(backbone(image)["layer4"][0].float().cpu(), labels, ids))
        return F.normalize(torch.cat(rows), dim=1)

    def vote(self, bank, queries):
        """int (P,): the class that the k nearest patches of the bank give to each query, by weighted vote."""
        near, at = (queries @ bank.T).topk(self.k, dim=1)                            # (P, k)
        names = torch.tensor(self.patches["bank"]["class"])[at]
        votes = torch.zeros(len(queries), 256).scatter_add_(1, names, ((near - near.max()) / SHARPNESS).exp())
        return votes.argmax(1).numpy()

    def score(self, backbone):
        """EpisodeScores whose "intersection" is hits and whose "union" is patches asked: its miou() is the mean
        accuracy over classes, its intervals and differences are bootstraps over held-out images."""
        said = self.vote(self.features(backbone, "bank"), self.features(backbone, "queries"))
        scores, asked = EpisodeScores(self.classes, absent="ignored"), self.patches["queries"]
        table = {}
        for i, truth, answer in zip(asked["image"], asked["class"], said):
            if truth in self.classes:
                hits = table.setdefault((i, truth), [0, 0])
                hits[0] += int(answer == truth)
                hits[1] += 1
        scores.rows = [(self.dataset.ids[i], [c], [hit], [total], (0, 1), (hit, total))
                       for (i, c), (hit, total) in table.items()]
        return scores


def probe_summary(scores):
    """Plain values for JSON: ``accuracy`` (percent, mean over classes) with its 95 % ``interval``, ``per_class``, and
    ``scores``, from which ``EpisodeScores.from_dict`` makes paired differences."""
    return {"accuracy": round(100 * scores.miou(), 2),
            "interval": [round(100 * v, 2) for v in scores.intervals()["miou"]],
            "per_class": {str(c): round(100 * v, 2) for c, v in scores.per_class().items()},
            "patches": int(sum(row[3][0] for row in scores.rows)), "scores": scores.to_dict()}
