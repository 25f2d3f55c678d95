"""Segmenter: outline a thing in one photo, or in five, and get its mask in the others."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from ..basics.checkpoints import fill, load_checkpoint, weights_digest
from ..basics.errors import InputError
from ..basics.storage import sha256_json
from ..episodes.batches import EpisodeBatch
from ..episodes.transforms import check_geometry, image_to_input, mask_to_input, to_truth
from ..metrics import EMPTY, presence
from ..models.encoder import STRIDE
from .supports import KINDS, as_image, as_labels, widened

SIZE = 225                                   # of the input; what decoders of this kit are trained on
RESIZE = "pad"
REMEMBERED = 32                              # photos whose features are kept
MOST_CLASSES = 254                           # a mask is one byte a pixel, 0 is background and 255 not told


@dataclass(frozen=True)
class Result:
    """``mask``: uint8 (H,W) of the photo's own size, 0 background, n the n-th of ``classes`` · ``classes``: names, in the order in which
    they were learned · ``scores``: dict name -> 0..1, whether the class is in the photo at all, above 0.5 yes (of a model without a rule of
    presence, such as PANet, only how strongly its surest places are marked) ·
    ``area``: dict name -> 0..1, share of the photo that is marked · ``present``: dict name -> bool."""
    mask: np.ndarray
    classes: tuple
    scores: dict
    area: dict
    present: dict


class Segmenter:
    """Few-shot segmentation of photos.

    ``model``: a trained model of ``models.build_model``; by default PANet on EfficientNet-lite0, which needs no training · ``size``: px
    to which a photo's long side is brought · ``device``: default a GPU where there is one.

        segmenter = Segmenter().learn("cup1.jpg", mask="cup1.png", name="cup")
        mask = segmenter.segment("cup2.jpg").mask
    """

    def __init__(self, model=None, size=SIZE, device=None):
        if model is None:
            from ..models import build_model
            model = build_model("panet")
        check_geometry(size, RESIZE)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.size = model.to(self.device).eval(), size
        self._seen = {}
        self.supports = {}                   # class name -> [(features (C,h,w), labels uint8 (S,S)), ...]

    @classmethod
    def load(cls, path, size=SIZE, device=None):
        """With the model of a ``checkpoint.pt`` of ``fsslib train``; what cannot be read raises InputError."""
        from ..models import build_model
        state = load_checkpoint(path)
        known = state["architecture"]
        if known["model"] in ("moco", "qgnet"):
            raise InputError(path, f"a checkpoint of {known['model']}", "of panet, pfenet, symnet or whichnet", "Give another one.")
        model = build_model(known["model"], known["backbone"], None, **known["options"])           # the checkpoint holds all weights
        fill(path, state, model)
        return cls(model, size, device)

    @property
    def classes(self):
        """Names of what it has learned, in order."""
        return tuple(self.supports)

    @property
    def about(self):
        """Plain values: model, backbone, size, and the number of supports of each class."""
        return {**self.model.architecture, "size": self.size, "supports": {name: len(given) for name, given in self.supports.items()}}

    @property
    def digest(self):
        """sha256 (hex) of the weights and of everything learned: equal digests give equal masks."""
        given = hashlib.sha256(weights_digest(self.model).encode())
        for name, supports in self.supports.items():
            for features, labels in supports:
                given.update(name.encode() + features.cpu().numpy().tobytes() + labels.numpy().tobytes())
        return sha256_json([self.about, given.hexdigest()])

    def learn(self, image, mask=None, scribble=None, box=None, name="object"):
        """Adds one support of the class ``name`` and returns itself; a photo may be given again for another class.

        ``image``: path, PIL picture or array · one of ``mask``, ``scribble``, ``box``: see ``supports.as_labels``.
        """
        name = str(name)
        given = {kind: value for kind, value in zip(KINDS, (mask, scribble, box)) if value is not None}
        if len(given) != 1:
            raise InputError(f"support of {name}", " and ".join(given) or "no annotation", "one of mask, scribble and box", "Give one.")
        if name not in self.supports and len(self.supports) == MOST_CLASSES:
            raise InputError("classes", f"{MOST_CLASSES + 1}", f"at most {MOST_CLASSES}", "Use a second Segmenter.")
        (kind, annotation), = given.items()
        photo = as_image(image)
        labels = as_labels(annotation, kind, photo.shape[:2])
        small = mask_to_input(labels, self.size, RESIZE)
        if kind == "scribble":
            small = widened(small, STRIDE // 2)
        if not (small == 1).any():
            raise InputError(f"{kind} of {name}", f"a thing that vanishes at {self.size} px", "one that can still be seen",
                             "Show a larger one, crop the photo around it, or give a larger size.")
        learned = self.features(photo), small                           # before the class is there: a failure leaves none behind
        self.supports.setdefault(name, []).append(learned)
        return self

    def forget(self, name):
        """Takes back every support of a class, and the class."""
        self.supports.pop(str(name), None)

    def segment(self, image):
        """Result of a photo: every learned class, or nothing where it is not seen."""
        if not self.supports:
            raise InputError("Segmenter", "nothing learned", "at least one support", "Call learn(image, mask=...) first.")
        photo = as_image(image)
        shape, query = photo.shape[:2], self.features(photo)
        margins, scores = {}, {}
        for name in self.supports:
            margins[name], scores[name] = self.margin(name, query, shape)
        stacked = np.stack([np.zeros(shape, np.float32), *(np.where(scores[name] > 0, m, -np.inf) for name, m in margins.items())])
        while True:
            mask = stacked.argmax(0).astype(np.uint8)                   # a pixel goes to the class whose margin is the largest
            areas = np.bincount(mask.ravel(), minlength=len(stacked)) / mask.size
            stray = np.flatnonzero((areas > 0) & (areas < EMPTY) & (np.arange(len(areas)) > 0))
            if not len(stray):
                break
            stacked[stray[areas[stray].argmin()]] = -np.inf             # a few stray pixels are no find; they are the next class's
        area = {name: float(areas[n]) for n, name in enumerate(margins, 1)}
        return Result(mask, self.classes, {name: _sure(value) for name, value in scores.items()}, area,
                      {name: value > 0 for name, value in area.items()})

    @torch.no_grad()
    def margin(self, name, query, shape):
        """(float32 (H,W), above 0 where the class is marked; a number above 0 if it is there at all)."""
        support, labels = (torch.stack(parts) for parts in zip(*self.supports[name]))
        batch = EpisodeBatch(labels[None, None].to(self.device), torch.zeros(1, self.size, self.size, dtype=torch.long, device=self.device),
                             support_features=support[None, None], query_features=query[None])
        output = self.model(batch)
        logits = to_truth(output.logits[0].float().cpu(), shape, RESIZE)
        margin = (logits[1] - logits[0]).numpy()
        return margin, float(output.presence[0]) if output.presence is not None else presence(margin)

    @torch.no_grad()
    def features(self, photo):
        """uint8 (H,W,3) -> (C,h,w), what the model's encoder sees of it; kept for the last photos."""
        key = (photo.shape, hashlib.sha256(photo.tobytes()).digest())
        if key not in self._seen:
            if len(self._seen) == REMEMBERED:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = self.model.encoders[0](image_to_input(photo, self.size, RESIZE)[None].to(self.device))[0].float()
        return self._seen[key]


def _sure(value):
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))
