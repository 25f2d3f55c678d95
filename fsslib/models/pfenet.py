"""PFENet: a training-free prior map and a decoder that works at several scales.

Tian, Zhao, Shu, Yang, Li, Jia: Prior Guided Feature Enrichment Network for Few-Shot Segmentation, TPAMI 2020. The
object of the support becomes one vector, as in PANet; but a small network learns to compare, and a map of
high-level similarity, computed without learning, tells it where to look.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import nn

from ..basics.errors import InputError
from ..episodes.batches import EpisodeOutput
from ..regions.maps import guided_region_map
from .base_learner import Ensemble, known_others, scene_difference
from .encoder import Encoder
from .fem import FEM, he_initialised, resized
from .known import KnownHeads, refuse_changing
from .prototypes import masked_average

EPSILON = 5e-4                               # of the masked average


class PFENet(nn.Module):
    """``width``: channels of the reduced features · ``bins``: see ``fem.FEM``; PFENet's own at 473 px are
    60, 30, 15, 8, these shares fit every size · ``guided``: use the guided map · ``masked_pass``: the support's
    high-level features from masked mid-level ones, as in the released code; by default an unmasked pass, which does
    not depend on the mask and can be kept. Both are masked again · ``frozen``: the backbone does not learn (released
    code) or does, on base classes (QGNet's section 4.2.1) · ``dropout``: of the reduced features' channels ·
    ``foreground_weight``: of object pixels in the losses; 1 is the papers'. IoU counts what is missed, cross-entropy
    counts pixels, of which few are object: with small objects and weak evidence it is content to answer "background" ·
    ``blind``: a control that never sees its support: no guided map, the prototype 0, in training and test ·
    ``keys``: what the guided map compares, ``"backbone"`` (its ``region_features``) or ``"layer4"`` as it is ·
    ``start``: of the decoder's mixing layers, ``"shares"`` (``fem.equal_shares``) or ``"he"``, by number of channels ·
    ``base``: BAM's base learner, a head that learns the base classes first and takes them from the answer (``base_learner``).
    """

    def __init__(self, backbone, width=256, bins=(1.0, 0.5, 0.25, 0.125), guided=True, masked_pass=False, frozen=True,
                 dropout=0.5, foreground_weight=1.0, blind=False, keys="backbone", start="shares", base=False):
        for name, value, known in (("keys", keys, ("backbone", "layer4")), ("start", start, ("shares", "he"))):
            if value not in known:
                raise InputError(name, repr(value), " or ".join(map(repr, known)), "Correct the option.")
        if width < 1 or not 0 < foreground_weight < float("inf") or not 0 <= dropout < 1:
            raise InputError("width, foreground_weight, dropout", f"{width}, {foreground_weight}, {dropout}",
                             "from 1 up, above 0, from 0 to below 1", "Correct the option.")
        super().__init__()
        self.backbone = backbone.requires_grad_(not frozen)
        self.frozen, self.guided, self.masked_pass = frozen, guided and not blind, masked_pass
        self.blind, self.keys = blind, keys
        self.register_buffer("class_weight", torch.tensor([1.0, foreground_weight]), persistent=False)
        self.encoders = [Encoder(backbone, ("layer3", "layer2", "layer4"))]
        mid = backbone.channels["layer3"] + backbone.channels["layer2"]
        self.reduce_query, self.reduce_support = (reduction(mid, width, dropout) for _ in range(2))
        self.fem, self.level = FEM(self.count_maps(), width, bins), nn.Identity()
        if base:
            refuse_changing(backbone, frozen)
        self.known = KnownHeads(sum(self.encoders[0].channels), parts=False) if base else None
        self.ensemble = Ensemble() if base else None
        for part in (self.reduce_query, self.reduce_support, *([self.fem] if start == "he" else [])):
            he_initialised(part)

    OPTIONS = dict(zip(("width", "bins", "guided", "masked_pass", "frozen", "dropout", "foreground_weight", "blind", "keys",
                        "start", "base"), __init__.__defaults__))
    MOST_WAYS = 1
    TRAINING = dict(lr=0.0025, lr_times_ten=True, schedule="poly", weight_decay=1e-4, protocol="pfenet")

    def count_maps(self):
        return int(self.guided)

    def forward(self, batch):
        """EpisodeBatch of one way -> EpisodeOutput; ``maps`` hold (B,1,h,w) in 0..1, ``losses`` main and auxiliary."""
        support, query, masks = *self.features(batch), one_way(batch.support_masks)
        layer3, layer2, _ = self.encoders[0].split(query)                               # (B, C, h, w) each
        s3, s2, _ = self.encoders[0].split(support)                                     # (B, K, C, h, w) each
        q, s, m = self.reduced(layer3, layer2, s3, s2, masks)
        prototype = masked_average(s, m, EPSILON).mean(1) * (not self.blind)            # (B, W)
        maps = self.region_maps(support, query, masks, batch.class_ids)
        return self.decide(batch, query, q, prototype, self.level(torch.cat([q[:, :0], *maps.values()], 1)), maps,
                           self.ensemble and scene_difference(layer2, s2).mean(1) * (not self.blind))

    def reduced(self, layer3, layer2, s3, s2, masks):
        """Mid-level maps (B,C,h,w), (B,K,C,h,w) and masks (B,K,S,S) -> the query (B,W,h,w) and the support (B,K,W,h,w) in W channels,
        and the support's masks (B,K,h,w) with soft edges."""
        size = layer3.shape[2:]
        m = resized((masks == 1).to(layer3.dtype), size)
        if not self.training and not m.flatten(2).any(2).all():
            warnings.warn(f"a support mask has no foreground left at {size[0]}x{size[1]}: its prototype and its map "
                          "are 0; show a larger object or use a larger input")
        q = self.reduce_query(self.mid_level(layer3, layer2))
        s = self.reduce_support(self.mid_level(s3, s2).flatten(0, 1)).unflatten(0, masks.shape[:2])
        return q, s, m

    def decide(self, batch, query, q, prototype, decoded, maps, apart, losses=()):
        """EpisodeOutput of what FEM makes of the reduced query ``q``, the prototype and the maps ``decoded`` (B,M,h,w); the base
        learner looks at the ``query``'s features and at how far the scenes are ``apart`` (B,). ``losses``: more of them, by name."""
        logits, auxiliary = self.fem(q, prototype, decoded)
        target, answer = batch.query_masks, logits
        if self.ensemble:
            answer = self.with_known(logits, query, apart, batch.class_ids)
        output = EpisodeOutput(resized(answer, target.shape[-2:]), dict(losses), maps)  # (B, 2, S, S)
        if self.training:
            main, *scales = (cross_entropy(x, target, self.class_weight) for x in (answer, *auxiliary))
            output.losses |= {"main": main, "auxiliary": sum(scales) / len(scales)}
            if self.ensemble:
                output.losses["meta"] = cross_entropy(logits, target, self.class_weight)
        return output

    def with_known(self, logits, query, apart, class_ids):
        """(B,2,h,w) -> (B,2,h,w): the few-shot answer less what the base learner knows as something else."""
        if not len(self.known):
            raise InputError("base learner", "a head that has learned nothing", "that of a training, which begins with it",
                             "Train the model (fsslib train), or give its --checkpoint.")
        with torch.no_grad():
            P = self.known[-1](query[:, :self.known.channels]).softmax(1)               # (B, 1+n, h, w)
            position = query.new_zeros(len(query), dtype=torch.long) if class_ids is None else self.known.position(class_ids[:, 0])
        return self.ensemble(logits.softmax(1), known_others(P, position), apart)

    def mid_level(self, layer3, layer2):
        """(...,C,h,w): what the decoder reduces, layer3 first."""
        return torch.cat([layer3, layer2], -3) * self.backbone.mid_scale

    def region_maps(self, support, query, masks, class_ids=None):
        """dict name -> (B,1,h,w) in 0..1, from features (B,K,C,h,w), (B,C',h,w), masks (B,K,S,S) and what they show, (B,1) or None."""
        if not self.guided:
            return {}
        (q3, _, q_high), (s3, _, s_high) = (self.encoders[0].split(x)[:3] for x in (query, support))
        if self.masked_pass:
            m = resized((masks == 1).to(query.dtype), s3.shape[-2:])
            s_high = self.backbone.high_level((s3 * m[:, :, None]).flatten(0, 1)).unflatten(0, s3.shape[:2])
        if self.keys == "backbone":
            q_high, s_high = self.backbone.region_features(q3, q_high), self.backbone.region_features(s3, s_high)
        return {"guided": guided_region_map(q_high, s_high, masks)}

    def features(self, batch):
        """(support (B,K,C,h,w), query (B,C',h,w)), from the batch or from its images."""
        if batch.query_features is not None:
            return one_way(batch.support_features), batch.query_features
        support, query = one_way(batch.support_images), batch.query_images
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            both = self.encoders[0](torch.cat([support.flatten(0, 1), query]))
            support, query = both[:-len(query)].unflatten(0, support.shape[:2]), both[-len(query):]
            query = torch.cat([query, *(encode(batch.query_images) for encode in self.encoders[1:])], 1)
        return support.float(), query.float()          # as a bank gives them: cosines of bf16 features would be coarse


def one_way(tensor):
    """(B,1,K,...) -> (B,K,...); more ways raise InputError."""
    if tensor.shape[1] != 1:
        raise InputError("ways", f"{tensor.shape[1]}", "1", "These decoders answer one class at a time; use panet.")
    return tensor[:, 0]


def reduction(channels, width, dropout):
    """1x1 convolution without bias, ReLU, dropout of whole channels."""
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.ReLU(), nn.Dropout2d(dropout))


def cross_entropy(logits, target, weight):
    """Of logits (B,2,h,w), resized to the target (B,S,S) first; 255 does not count; ``weight`` (2,) of the classes."""
    return F.cross_entropy(resized(logits, target.shape[-2:]), target, weight, ignore_index=255)
