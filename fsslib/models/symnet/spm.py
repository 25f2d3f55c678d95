"""SPM, the self-activation prior mask: where in the query is the object? Nothing in it learns.

PFENet's prior takes for each place of the query its single best match in the support, and one lucky match misleads it. SPM
compares *windows* of three shapes, so that neighbours vote; takes the mean over the support instead of the maximum; and weighs
each place by how strongly the query itself responds there. (Sym-Net's abstract names the windows and the self-activation kernel;
sizes, mean and order of the steps are those of its released code.)

A mean of cosines is a dot product with a mean, so each map is one prototype's: with q a window of the query and s one of the support,

    mean_s cos(q, s) |q| = q . P,    P = mean_s s / |s|.
"""

import torch
import torch.nn.functional as F

from ...regions.maps import normalised
from ..fem import resized

WINDOWS = (5, 5), (7, 1), (1, 7)             # height, width in places of the map
EPSILON = 1e-7


def self_activation_maps(query, support, masks, windows=WINDOWS, activation=True):
    """float (B,K,h,w) in 0..1, one map a shot.

    ``query``: float (B,C,h,w) · ``support``: float (B,K,C,h,w), the same layer · ``masks``: (B,K,H,W), 1 on the object ·
    ``windows``: (height, width) each, of odd sides · ``activation``: weigh by the norm of the query's features; else plain cosines.
    """
    shape = support.shape[:2]
    object_alone = (support * resized((masks == 1).to(support.dtype), support.shape[-2:])[:, :, None]).flatten(0, 1)
    query = query.repeat_interleave(shape[1], 0)                                         # (B·K, C, h, w)
    maps = [normalised(_projection(pooled(query, w), pooled(object_alone, w), activation)) for w in windows]
    return torch.stack(maps).mean(0).unflatten(0, shape)


def pooled(features, window):
    """(N,C,h,w) -> the same shape: the mean of each place's window; places outside of the map count as zeros."""
    features = features.to(memory_format=torch.channels_last)                            # pooled eight times as fast on a CPU
    return F.avg_pool2d(features, window, stride=1, padding=[side // 2 for side in window])


def _projection(query, support, activation):
    """(N,C,h,w) each -> (N,h,w): q . P, or cos(q, s) in the mean over all places s."""
    prototype = unit(support).mean((2, 3))                                               # (N, C)
    return torch.einsum("nchw,nc->nhw", query if activation else unit(query), prototype)


def unit(features):
    """(N,C,h,w) over the length of each place's vector; a vector of zeros stays."""
    return features / (features.norm(dim=1, keepdim=True) + EPSILON)
