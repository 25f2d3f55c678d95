"""WhichNet, the kit's own: PFENet's decoder, told *which* thing is meant.

Given a query's features and one map, PFENet's decoder learns to outline what stands out; which of two things the support
shows it hardly asks. Here it gets what tells them apart. Cosines with the support's object and with its background, PANet's,
not stretched to 0..1, so that "nothing here is like it" can be seen; the same between embeddings that learned to tell the
base classes apart; and where *other* known things are, which takes BAM's idea (Lang et al., CVPR 2022) from the answer into
the decoder. Trained with ``--crowded``, on queries in which two things stand out.
It also says whether the class is there at all: a rule of five numbers, what margin and cosines are where the answer is surest,
fitted on base classes behind the last step (``training.presence``).
"""

import torch

from ..basics.errors import InputError
from .fem import MAP_SPREAD, resized
from .known import KnownHeads, refuse_changing
from .panet import PANet
from .pfenet import PFENet
from .prototypes import lower, masked_average

SPARING = 2.0                # a class that the head sees in half of the support's object is not "other" any more
KNOWN = ("left out", "all", "none")
SEVERAL = 3                  # shots from which on the rule of presence is that fitted to five: their mean is a closer match
SEEN = ("margin", "object", "background", "object, learned", "background, learned")     # what the rule of presence weighs


class WhichNet(PFENet):
    """``cosines``: the maps of cosines with object and background · ``known``: heads of known things (``known.KnownHeads``), in
    training one that has left out the asked class, ``"all"``: one that knows it, a control, or ``"none"`` · ``options``: PFENet's.
    ``blind`` leaves the maps that ask no support: known things, none of them spared.
    """

    def __init__(self, backbone, cosines=True, known="left out", width=64, foreground_weight=2.0, **options):
        if known not in KNOWN:
            raise InputError("known", repr(known), f"one of {', '.join(map(repr, KNOWN))}", "Correct the option.")
        self.cosines, self.uses, self.judges = cosines, known, cosines and known != "none"
        super().__init__(backbone, width=width, foreground_weight=foreground_weight, **options)
        if known != "none":
            refuse_changing(backbone, self.frozen)
            self.known = KnownHeads(sum(self.encoders[0].channels), parts=known == "left out")      # the last is the base learner's, too
        self.level = torch.nn.BatchNorm2d(self.count_maps())          # maps of any backbone, spread as FEM's start expects
        torch.nn.init.constant_(self.level.weight, MAP_SPREAD)
        self.register_buffer("rule", torch.zeros(2, len(SEEN) + 1))     # for one shot, for several: weights and bias; 0: not fitted

    OPTIONS = {**PFENet.OPTIONS, "cosines": True, "known": "left out", "width": 64, "foreground_weight": 2.0}
    TRAINING = dict(steps=1000, batch=8, optimizer="adamw", lr=0.002, lr_times_ten=False, weight_decay=0.02, schedule="poly",
                    protocol="pfenet", crowded=0.4)

    def forward(self, batch):
        """As PFENet's, with ``presence`` where the rule was fitted."""
        output = super().forward(batch)
        if not self.training and self.rule.any():
            rule = self.rule[int(batch.support_masks.shape[2] >= SEVERAL)]
            output.presence = self.evidence(output) @ rule[:-1] + rule[-1]
        return output

    @staticmethod
    def evidence(output):
        """EpisodeOutput -> (B,5): the margin and four cosines, averaged over places by a softmax of the margin."""
        size = output.maps["object"].shape[2:]
        margin = resized(output.logits[:, 1:] - output.logits[:, :1], size)                             # (B, 1, h, w)
        surest = margin.flatten(2).softmax(2)                                                           # (B, 1, hw)
        return torch.cat([(surest * x.flatten(2)).sum(2) for x in (margin, *(output.maps[name] for name in SEEN[1:]))], 1)

    def count_maps(self):
        return int(self.guided or self.blind) + 2 * self.cosines + 4 * (self.uses != "none")

    def region_maps(self, support, query, masks, class_ids=None):
        """PFENet's, and ``object``, ``background``: cosines with their prototypes in layers 3 and 4, -1..1 ·
        ``object, learned``, ``background, learned``: of the heads' embeddings · ``others``: 0..1, other known things ·
        ``unknown``: 0..1, no known thing."""
        maps = super().region_maps(support, query, masks, class_ids)
        if self.blind:
            maps["guided"] = query.new_zeros(len(query), 1, *query.shape[2:])
        fg, bg = (lower((masks == value).to(query.dtype), query.shape[2:]) for value in (1, 0))         # (B, K, h, w)
        (q3, _, q4), (s3, _, s4) = self.encoders[0].split(query), self.encoders[0].split(support)
        if self.cosines:
            maps |= self.compare(torch.cat([q3, q4], 1), torch.cat([s3, s4], 2), fg, bg)
        if self.uses != "none":
            maps |= self.look_for_known(query, support, fg, bg, class_ids)
        return maps

    def compare(self, query, support, fg, bg, space=""):
        """Features (B,C,h,w), (B,K,C,h,w) and weights (B,K,h,w) -> the cosines with object and background, dict of (B,1,h,w)."""
        prototypes = torch.stack([masked_average(support, m).mean(1) for m in (fg, bg)], 1)             # (B, 2, C)
        found = PANet.similarity(query, prototypes) * (not self.blind)
        return {f"object{space}": found[:, :1], f"background{space}": found[:, 1:]}

    @torch.no_grad()
    def look_for_known(self, query, support, fg, bg, class_ids):
        if not len(self.known):
            raise InputError("WhichNet", "no heads of known things", "those that a training begins with",
                             "Train it (fsslib train --model whichnet), or give its --checkpoint.")
        heads = [self.known[-1]] * len(query) if self.uses == "all" or class_ids is None else self.known.of(class_ids[:, 0])
        embedded = torch.stack([head.embed(torch.cat([q[None], s])) for head, q, s in zip(heads, query, support)])
        others, unknown = [], []                                                                        # embedded (B, 1+K, 64, h, w)
        for head, z, m in zip(heads, embedded, fg):
            P = head.answer(z).softmax(1)                                                               # (1+K, 1+n, h, w)
            seen = masked_average(P[1:, 1:], m).mean(0)                                 # (n,) shares of the support's object
            spared = (SPARING * seen).clamp(max=1) * (not self.blind)
            others.append((P[0, 1:] * (1 - spared)[:, None, None]).sum(0, keepdim=True))
            unknown.append(P[0, :1])
        return {**self.compare(embedded[:, 0], embedded[:, 1:], fg, bg, ", learned"), "others": torch.stack(others),
                "unknown": torch.stack(unknown)}
