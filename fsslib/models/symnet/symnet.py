"""Sym-Net: support and query each get a prototype by the same rule, and the decoder is given their mean.

Li, Sun, Xiao, Qi, Bhanu: Symmetrical Joint Learning Support-query Prototypes for Few-shot Segmentation, 2024. Around PFENet's
decoder stand SPM, which finds the query's own object (``spm``), APA, which turns either object into a prototype (``apa``), TDC, maps
of similarity (``tdc``), a triplet that pulls both prototypes (``triplet``), and BAM's base learner (``base_learner``).
"""

import torch

from ...basics.errors import InputError
from ...regions.maps import guided_region_map
from ..base_learner import scene_difference
from ..encoder import Encoder
from ..pfenet import EPSILON, PFENet, one_way
from ..prototypes import masked_average
from .apa import PrototypeAggregation, hybrid
from .regions import query_regions, region_means
from .shots import ShotWeights
from .spm import self_activation_maps
from .tdc import WIDTH, TopDown, correlation
from .text import ClassVectors, RandomVectors
from .triplet import query_triplet, support_triplet

CORRELATED = ("blocks", "layers", "none")


class SymNet(PFENet):
    """``spm``: the self-activation prior, else PFENet's guided map · ``apa``: prototype aggregation, else masked averages alone ·
    ``text``: class vectors that APA is told, ``"minilm"``, ``"random"``, ``"none"`` or a file (``text``) · ``tdc``: maps of similarity
    of all ``"blocks"`` of the backbone, of the three ``"layers"``, which need no more features than PFENet, or ``"none"`` ·
    ``triplet``: its loss · ``shots``: K whose weights are learned; other numbers of shots weigh the same · ``options``: PFENet's,
    with the base learner and the released code's plain layer 4 as keys by default; ``blind`` takes away both prototypes and all maps.
    """

    def __init__(self, backbone, spm=True, apa=True, text="minilm", tdc="layers", triplet=True, shots=1, width=64, foreground_weight=2.0,
                 base=True, keys="layer4", **options):
        if tdc not in CORRELATED:
            raise InputError("tdc", repr(tdc), f"one of {', '.join(map(repr, CORRELATED))}", "Correct the option.")
        self.correlated = {} if tdc == "none" else {layer: backbone.blocks[layer] if tdc == "blocks" else (layer,)
                                                    for layer in ("layer2", "layer3", "layer4")}
        self.spm, self.triplet, self.shots = spm, triplet and not options.get("blind"), shots
        super().__init__(backbone, width=width, foreground_weight=foreground_weight, base=base, keys=keys, **options)
        more = [name for names in self.correlated.values() for name in names if name not in self.encoders[0].maps]
        self.encoders = [Encoder(backbone, (*self.encoders[0].maps, *more))]
        vectors = None
        if apa and text != "none":
            vectors = RandomVectors() if text == "random" else ClassVectors(text)
        self.vectors, self.words = vectors, None
        self.apa = PrototypeAggregation(width, vectors.length if vectors else 0) if apa else None
        self.tdc = TopDown([len(names) for names in self.correlated.values()]) if self.correlated else None
        self.weigh = ShotWeights(shots)

    OPTIONS = {**{name: value for name, value in PFENet.OPTIONS.items() if name not in ("guided", "masked_pass")},
               "spm": True, "apa": True, "text": "minilm", "tdc": "layers", "triplet": True, "shots": 1, "width": 64,
               "foreground_weight": 2.0, "base": True, "keys": "layer4"}

    def count_maps(self):
        return 1 + WIDTH * bool(self.correlated)

    def meet(self, dataset):
        """Looks up the vectors of a data set's classes; one without a vector raises InputError."""
        if self.vectors:
            self.words = torch.from_numpy(self.vectors.of(dataset.class_names))          # (C, T), class c in row c - 1

    def forward(self, batch):
        """EpisodeBatch of one way -> EpisodeOutput; ``maps``: ``prior`` (B,1,h,w), ``support`` and ``query``, attention (B,h,w)."""
        support, query, masks = *self.features(batch), one_way(batch.support_masks)
        q_of, s_of = (self.encoders[0].named(x) for x in (query, support))
        q, s, m = self.reduced(q_of["layer3"], q_of["layer2"], s_of["layer3"], s_of["layer2"], masks)
        K = masks.shape[1]
        apart = scene_difference(q_of["layer2"], s_of["layer2"])                                         # (B, K)
        worth = self.weigh(apart) if K == self.shots else torch.full_like(apart, 1 / K)

        keys = [x["layer4"] if self.keys == "layer4" else self.backbone.region_features(x["layer3"], x["layer4"]) for x in (q_of, s_of)]
        if self.spm:
            prior = torch.einsum("bk,bkhw->bhw", worth, self_activation_maps(*keys, masks))[:, None]     # (B, 1, h, w)
        else:
            prior = guided_region_map(*keys, masks)
        regions = query_regions(prior)
        mean = region_means(q, regions)
        text = self.text_of(batch)
        support_prototypes = [self.aggregate(masked_average(s[:, k], m[:, k], EPSILON), s[:, k] * m[:, k:k + 1], text) for k in range(K)]
        p_s = torch.einsum("bk,bkw->bw", worth, torch.stack([p for p, _ in support_prototypes], 1))
        p_q, looked = self.aggregate(mean["foreground"], q * prior, text)

        maps = {"prior": prior} | ({"support": support_prototypes[0][1], "query": looked} if self.apa else {})
        extra = [prior]
        if self.tdc:
            extra.append(self.tdc([[correlation(q_of[name], s_of[name], masks) for name in names] for names in self.correlated.values()]))
        losses = {}
        if self.training and self.triplet:
            losses["triplet"] = support_triplet(p_s, s, masks) + query_triplet(p_q, mean["ambiguous"], mean["background"])
        return self.decide(batch, query, q, hybrid(p_s, p_q) * (not self.blind), torch.cat(extra, 1) * (not self.blind), maps,
                           (worth * apart).sum(1) * (not self.blind), losses)

    def aggregate(self, prototype, features, text):
        return self.apa(prototype, features, text) if self.apa else (prototype, None)

    def text_of(self, batch):
        """(B,T), what APA is told of each episode's class, or None."""
        if not self.vectors:
            return None
        if self.words is None or batch.class_ids is None:
            raise InputError("Sym-Net", "no vectors of the classes", "those of the data set at hand",
                             "Call model.meet(dataset) first, or build it with text=\"none\".")
        return self.words.to(batch.query_masks.device)[batch.class_ids[:, 0] - 1]
