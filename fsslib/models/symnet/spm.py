"""SPM, the self-activation prior mask: where in the query is the object? Nothing in it learns.

PFENet's prior takes for each place of the query its single best match in the support, and one lucky match misleads it. SPM
compares *windows* of three shapes, so that neighbours vote; takes the mean over the support instead of the maximum; and weighs
each place by how strongly the query itself responds there. (Sym-Net's abstract names the windows and the self-activation kernel;
sizes, mean and order of the steps are those of its released code.)
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
    maps = [normalised(_mean_similarity(pooled(query, w), pooled(object_alone, w), activation)) for w in windows]
    return torch.stack(maps).mean(0).unflatten(0, shape)


def pooled(features, window):
    """(N,C,h,w) -> the same shape: the mean of each place's window; places outside of the map count as zeros."""
    return F.avg_pool2d(features, window, stride=1, padding=[side // 2 for side in window])


def _mean_similarity(query, support, activation):
    """(N,C,h,w) each -> (N,h,w): the mean of <q, s> / (|q| |s| + 1e-7) over all places s, times |q|."""
    q, s = query.flatten(2), support.flatten(2)                                          # (N, C, hw)
    length, other = q.norm(dim=1), s.norm(dim=1)                                         # (N, hw)
    found = (q.transpose(1, 2) @ s / (length[:, :, None] * other[:, None] + EPSILON)).mean(2)
    return (found * length if activation else found).unflatten(1, query.shape[2:])
