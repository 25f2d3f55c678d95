"""The queue: keys of earlier batches, kept as negatives."""

import torch
import torch.nn.functional as F
from torch import nn

from ..basics.errors import InputError

PAPER_LENGTH = 65536                         # K and M of the paper, made for ImageNet's 1.28 million images


class KeyQueue(nn.Module):
    """The last K keys, ``keys`` float (D,K), a column each; the oldest are overwritten first.

    ``dim``: D · ``length``: K. It starts with K random directions, as MoCo does; ``filled`` says how many of the
    columns are real keys by now.
    """

    def __init__(self, dim, length):
        super().__init__()
        if length < 1:
            raise InputError("queue", f"a length of {length}", "at least one key", "Ask for a longer queue.")
        self.length = length
        self.register_buffer("keys", F.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))            # where the next key goes
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))          # keys that ever came

    @property
    def filled(self):
        return min(int(self.seen), self.length)

    @torch.no_grad()
    def enqueue(self, keys):
        """Takes in ``keys`` float (B,D). A queue that is no multiple of B raises InputError."""
        B, at = len(keys), int(self.at)
        if self.length % B:
            raise InputError("queue", f"length {self.length} with batches of {B} keys", "a multiple of the batch",
                             f"Use {max(B, self.length // B * B)}.")
        self.keys[:, at:at + B] = keys.T
        self.at.fill_((at + B) % self.length)
        self.seen += B


def queue_length(images, batch):
    """The default length for a data set of ``images``: half of it, in whole batches, at most the paper's 65 536.

    A queue longer than the data set holds older keys of the very image it is compared with: K keys span K / images
    epochs, so about K / images - 1/2 of them are the image's own and are pushed away as if they were strangers.
    With half a data set an own key is in the queue in one case of eight, among K others.
    """
    return max(batch, min(PAPER_LENGTH, images // 2) // batch * batch)


def own_keys(images, length):
    """Expected number of an image's own older keys in a full queue, when every epoch visits each image once.

    An image comes back after d others, d spread over 1 .. 2 ``images`` like the difference of two uniform places;
    with x = length / images: x^2 / 2 up to one data set, x - 1/2 beyond.
    """
    x = length / images
    return x * x / 2 if x <= 1 else x - 0.5
