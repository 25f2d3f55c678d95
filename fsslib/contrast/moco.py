"""GlobalLocalMoCo: momentum contrast over whole images and over superpixel patches, L = L_global + L_local (eq. 3)."""

import copy

import torch
import torch.nn.functional as F
from torch import distributed, nn

from ..basics.errors import InputError
from .loss import contrast_logits, own_key_first
from .queue import KeyQueue

LOSSES = {"global": ("global",), "local": ("local",), "both": ("global", "local")}


class GlobalLocalMoCo(nn.Module):
    """MoCo v2 with a head and a queue for whole images, and a head and a queue for patches; one encoder for both.

    ``encoder``: a Backbone · ``loss``: ``"global"``, ``"local"`` or ``"both"`` ·
    ``dim``: D, length of a key · ``queue``: K, keys in each queue · ``momentum``: m of the key encoder ·
    ``temperature``: tau · ``sub_batches``: parts of a batch that batch norm sees apart, see ``_encode``.

    ``encoder`` and ``heads`` (q) learn by gradient; ``key_encoder`` and ``key_heads`` (k) follow: k <- m k + (1-m) q.
    """

    def __init__(self, encoder, loss="both", dim=128, queue=65536, momentum=0.999, temperature=0.2, sub_batches=4):
        super().__init__()
        if loss not in LOSSES:
            raise InputError("loss", repr(loss), f"one of {', '.join(LOSSES)}", "Correct the name.")
        if not 0 <= momentum < 1:
            raise InputError("key momentum", repr(momentum), "0 up to below 1", "Use 0.99, or 0.999 in long runs.")
        if not temperature > 0:
            raise InputError("temperature", repr(temperature), "a number above 0", "Use 0.2.")
        self.momentum, self.temperature, self.sub_batches = momentum, temperature, sub_batches
        C = encoder.channels["layer4"]
        self.encoder = encoder
        self.heads = nn.ModuleDict({name: nn.Sequential(nn.Linear(C, C), nn.ReLU(), nn.Linear(C, dim))
                                    for name in LOSSES[loss]})
        self.key_encoder, self.key_heads = copy.deepcopy(self.encoder), copy.deepcopy(self.heads)
        for parameter in self.key_parameters():
            parameter.requires_grad = False
        self.queues = nn.ModuleDict({name: KeyQueue(dim, queue) for name in LOSSES[loss]})

    def query_parameters(self):
        return [*self.encoder.parameters(), *self.heads.parameters()]

    def key_parameters(self):
        return [*self.key_encoder.parameters(), *self.key_heads.parameters()]

    def forward(self, views):
        """One step's losses; moves the key encoder and the queues.

        ``views``: dict ``"global"``, ``"local"`` (those of ``loss``) -> float (B,2,3,S,S) in 0..1, two views each.
        Returns dicts name -> scalar: losses with gradient, and the share of queries nearest to their own key.
        In the official order: k moves towards q as the last optimiser step left it, keys are computed, compared with
        the queue as it was before this batch, and only then put into it.
        """
        self.update_key_encoder()
        losses, accuracy = {}, {}
        for name, queue in self.queues.items():
            first, second = views[name].unbind(1)                                        # (B, 3, S, S) each
            q = F.normalize(self.heads[name](self._encode(self.encoder, first)), dim=1)  # (B, D)
            with torch.no_grad():
                k = F.normalize(self.key_heads[name](self._encode(self.key_encoder, second, shuffle=True)), dim=1)
            logits = contrast_logits(q, k, queue.keys.clone(), self.temperature)         # (B, 1+K)
            losses[name] = own_key_first(logits)
            accuracy[name] = (logits.detach().argmax(1) == 0).float().mean()
            queue.enqueue(_of_all_processes(k))
        return losses, accuracy

    @torch.no_grad()
    def update_key_encoder(self):
        """k <- m k + (1-m) q, parameters only; running statistics of batch norm are each encoder's own."""
        for q, k in zip(self.query_parameters(), self.key_parameters()):
            k.mul_(self.momentum).add_(q, alpha=1 - self.momentum)

    def _encode(self, encoder, images, shuffle=False):
        """(B,3,S,S) -> (B,C): layer4, averaged over the image, in ``sub_batches`` parts (one if batch norm is
        frozen).

        Batch norm mixes the images of a batch. If a query and its key were normalised among the same neighbours,
        the network could tell them by the neighbours' trace instead of by what they show. MoCo shuffles keys between
        GPUs; parts of a batch do the same on one device, since keys meet other neighbours than queries did.
        """
        B = len(images)
        parts = 1 if not encoder.training or encoder.batch_norm == "eval" else self.sub_batches
        if B % parts or (parts > 1 and B // parts < 2) or (parts == 1 and encoder.batch_norm == "train" and B < 2):
            raise InputError("batch", f"{B} images in {parts} parts", "parts of at least 2 images each",
                             "Batch norm needs neighbours: use a larger batch or fewer sub_batches.")
        order = torch.randperm(B, device=images.device) if shuffle else torch.arange(B, device=images.device)
        found = torch.cat([encoder(part)["layer4"].mean((2, 3)) for part in images[order].chunk(parts)])
        return found[order.argsort()]


def _of_all_processes(keys):
    """Keys of every process, in the order of their ranks, so that all queues stay the same."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return keys
    found = [torch.empty_like(keys) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, keys.contiguous())
    return torch.cat(found)
