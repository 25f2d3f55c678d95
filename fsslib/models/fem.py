"""FEM, the feature enrichment module: PFENet's decoder, which QGNet keeps.

Tian et al., "Prior Guided Feature Enrichment Network for Few-Shot Segmentation", TPAMI 2020, section 4; as its released
code computes it. Query, prototype and region maps meet at several scales; fine scales inform coarse ones.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..basics.errors import InputError

BINS = (60, 30, 15, 8)
MAP_SPREAD = 0.25                            # standard deviation of a map that was min-max normalised


class FEM(nn.Module):
    """``maps``: M, number of region maps · ``width``: channels of the reduced query and of every layer ·
    ``bins``: side of each scale, fine to coarse; a value of at most 1 is a share of the query's side.
    """

    def __init__(self, maps, width=256, bins=BINS):
        super().__init__()
        if not bins or min(bins) <= 0:
            raise InputError("bins", repr(bins), "sides or shares above 0, fine to coarse", f"Use {BINS}.")
        self.bins = tuple(bins)
        scales = range(len(self.bins))
        self.mix = nn.ModuleList(pointwise(2 * width + maps, width) for _ in scales)
        self.inform = nn.ModuleList(pointwise(2 * width, width) for _ in scales[1:])
        self.refine = nn.ModuleList(refinement(width) for _ in scales)
        self.classify = nn.ModuleList(classifier(width) for _ in scales)
        self.gather = pointwise(len(self.bins) * width, width)
        self.refine_all, self.classify_all = refinement(width), classifier(width)
        he_initialised(self)
        for mix in self.mix:
            equal_shares(mix[0].weight, (width, width, maps), (1.0, 1.0, MAP_SPREAD))

    def forward(self, query, prototype, maps):
        """``query`` float (B,W,h,w) · ``prototype`` float (B,W) · ``maps`` float (B,M,h',w') in 0..1 ->
        (logits (B,2,h,w), list of the scales' own logits (B,2,b,b), for the auxiliary losses)."""
        h, w = query.shape[2:]
        merged, auxiliary = [], []
        for i, bin in enumerate(self.bins):
            size = (bin, bin) if bin > 1 else (max(1, int(h * bin)), max(1, int(w * bin)))
            pooled = F.adaptive_avg_pool2d(query, size)                                  # (B, W, b, b)
            x = self.mix[i](torch.cat([pooled, prototype[:, :, None, None].expand_as(pooled),
                                       resized(maps, size)], 1))
            if i:                                                                        # what finer scales found
                x = x + self.inform[i - 1](torch.cat([x, resized(merged[-1], size)], 1))
            x = x + self.refine[i](x)
            auxiliary.append(self.classify[i](x))
            merged.append(resized(x, (h, w)))
        x = self.gather(torch.cat(merged, 1))
        x = x + self.refine_all(x)
        return self.classify_all(x), auxiliary


def he_initialised(module):
    """Starts every convolution of ``module`` so that a ReLU network neither shrinks nor blows up signals (He et al.,
    2015). PyTorch's default, which PFENet's code keeps, shrinks them layer by layer; from it hundreds of steps pass before
    the answer leaves "all background". The last layers, to two classes, start near 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.out_channels == 2:
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def equal_shares(weight, channels, spreads):
    """Starts a 1x1 convolution whose input is several tensors side by side, of so many ``channels`` and about such
    ``spreads`` (standard deviations) each, so that every tensor brings the same share of the output's variance. He's rule
    shares it out by channels: one region map beside 128 features starts as noise, and hundreds of steps pass before
    the decoder looks at it."""
    count = sum(map(bool, channels))
    with torch.no_grad():
        for part, n, spread in zip(weight.split(channels, 1), channels, spreads):
            part.normal_(std=(2 / (max(n, 1) * count)) ** 0.5 / spread)


def pointwise(channels, width):
    """1x1 convolution without bias, ReLU."""
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.ReLU())


def refinement(width):
    """Two 3x3 convolutions without bias, each with a ReLU: what is added to their input."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(),
                         nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU())


def classifier(width):
    """3x3 convolution, ReLU, dropout, 1x1 to background and foreground."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(), nn.Dropout2d(0.1),
                         nn.Conv2d(width, 2, 1))


def resized(x, size):
    """(B,C,h,w) -> (B,C,*size), bilinear with align_corners=True; C may be 0."""
    if x.shape[2:] == tuple(size):
        return x
    if not x.shape[1]:
        return x.new_zeros(*x.shape[:2], *size)
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)
