"""PANet: segmentation by the nearest prototype, with prototype alignment.

Wang, Liew, Zou, Zhou, Feng: PANet: Few-Shot Image Semantic Segmentation with Prototype Alignment, ICCV 2019.
Every class is one vector, averaged from the support under its mask; a query pixel takes the class of the most
similar vector. In training the roles are swapped as well: the predicted query must segment the support (PAR).
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..episodes.batches import EpisodeOutput
from .encoder import Encoder
from .prototypes import lower, masked_average


class PANet(nn.Module):
    """``maps``: names of the backbone's feature maps to compare, concatenated (default: the backbone's own choice) ·
    ``align``: train with PAR · ``scale``: alpha, the cosine's factor."""

    def __init__(self, backbone, maps=None, align=True, scale=20.0):
        super().__init__()
        self.backbone, self.align, self.scale = backbone, align, scale
        self.encoders = [Encoder(backbone, maps or backbone.prototype_maps)]

    OPTIONS = dict(zip(("maps", "align", "scale"), __init__.__defaults__))

    TRAINING = {}

    def encode(self, images):
        """float (...,3,S,S) in 0..1 -> features float (...,C,h,w)."""
        return self.encoders[0](images)

    def forward(self, batch):
        support, query = batch.support_features, batch.query_features      # (B,N,K,C,h,w), (B,C,h,w)
        if query is None:
            B, N, K = batch.support_images.shape[:3]
            images = torch.cat([batch.support_images.flatten(0, 2), batch.query_images])
            support, query = self.encode(images).split([B * N * K, B])
            support = support.unflatten(0, (B, N, K))
        prototypes = self.prototypes(support, batch.support_masks)         # (B, 1+N, C)
        similarity = self.similarity(query, prototypes)                    # (B, 1+N, h, w)
        size = batch.query_masks.shape[-2:]
        logits = upsample(self.scale * similarity, size)                   # (B, 1+N, S, S)
        output = EpisodeOutput(logits, maps={"similarity": similarity, "prototypes": prototypes})
        if self.training:
            output.losses["query"] = F.cross_entropy(logits, batch.query_masks, ignore_index=255)
            if self.align:
                output.losses["align"] = self.alignment(support, query, similarity, batch.support_masks)
        else:
            output.maps["prototype_distance"] = self.distance(query, prototypes, batch.query_masks)
        return output

    @staticmethod
    def prototypes(support, masks):
        """(B,N,K,C,h,w), uint8 (B,N,K,S,S) -> (B,1+N,C): background (mean over shots and ways), then each way."""
        shape = support.shape[-2:]
        foreground = masked_average(support, lower((masks == 1).to(support.dtype), shape)).mean(2)     # (B, N, C)
        background = masked_average(support, lower((masks == 0).to(support.dtype), shape)).mean((1, 2))
        return torch.cat([background[:, None], foreground], 1)

    @staticmethod
    def similarity(features, prototypes):
        """Cosine of every position with every prototype: (B,C,h,w), (B,P,C) -> (B,P,h,w) in -1..1.

        One product of normalised maps; torch's cosine_similarity (eps 1e-8) would repeat the norms P times.
        """
        return torch.einsum("bchw,bpc->bphw", F.normalize(features, dim=1, eps=1e-8),
                            F.normalize(prototypes, dim=2, eps=1e-8))

    def alignment(self, support, query, similarity, masks):
        """PAR: prototypes of the predicted query segment the support. Gradients reach features, not the arg-max."""
        B, N, K = support.shape[:3]
        predicted = F.one_hot(similarity.detach().argmax(1), 1 + N).movedim(-1, 1).to(query.dtype)     # (B,1+N,h,w)
        prototypes = masked_average(query[:, None], predicted)             # (B, 1+N, C)
        total = query.new_zeros(())
        for b in range(B):
            for n in range(N):
                if not predicted[b, n + 1].any():                          # a way that nobody sees teaches nothing
                    continue
                pair = prototypes[b, [0, n + 1]].expand(K, 2, -1)          # background and this way
                scores = self.scale * self.similarity(support[b, n], pair)
                losses = F.cross_entropy(upsample(scores, masks.shape[-2:]), masks[b, n].long(),
                                         ignore_index=255, reduction="none").flatten(1).sum(1)
                total = total + (losses / (masks[b, n] != 255).flatten(1).sum(1)).sum()
        return total / (B * N * K)

    @staticmethod
    def distance(query, prototypes, query_masks):
        """(B,): Euclidean distance of l2-normalised support and true query prototypes, mean over the ways shown.

        PAR claims to shorten it. Normalised, so that smaller features alone do not count as closer.
        """
        ways = torch.stack([query_masks == n for n in range(1, prototypes.shape[1])], 1).to(query.dtype)   # (B,N,S,S)
        own = masked_average(query[:, None], lower(ways, query.shape[-2:]))
        gap = (F.normalize(own, dim=-1) - F.normalize(prototypes[:, 1:], dim=-1)).norm(dim=-1)
        shown = ways.flatten(2).any(2)
        return (gap * shown).sum(1) / shown.sum(1)


def upsample(scores, size):
    return F.interpolate(scores, tuple(size), mode="bilinear", align_corners=False)
