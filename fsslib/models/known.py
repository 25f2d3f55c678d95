"""Known things: a small head that tells which of the learned classes is at each place of an image.

BAM (Lang et al., CVPR 2022) takes what such a *base learner* finds away from a few-shot answer. Used in training, too, it
needs a second thought: it must not know the class that an episode asks for, since a novel class will not be known either. So
there are several heads, each learned without some of the classes, and an episode is shown to one that has never met its own.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..basics.errors import InputError

PARTS = 3                    # of the learned classes; each is left out by one head
WIDTH, EMBEDDING = 256, 64


class KnownThings(nn.Module):
    """``channels``: C of the features · ``classes``: ids of the n classes that it learns, in the order of its answers."""

    def __init__(self, channels, classes):
        super().__init__()
        self.register_buffer("classes", torch.tensor(sorted(classes)))
        self.register_buffer("spread", torch.ones(channels))              # of each channel, measured before the first step
        self.hidden, self.embedding = nn.Conv2d(channels, WIDTH, 1), nn.Conv2d(WIDTH, EMBEDDING, 1)
        self.drop, self.classify = nn.Dropout2d(0.2), nn.Conv2d(EMBEDDING, 1 + len(self.classes), 1)

    def embed(self, features):
        """float (B,C,h,w) -> (B,64,h,w): vectors in which the learned classes lie apart, and others, it turns out, too."""
        return self.embedding(F.relu(self.hidden(features / self.spread[:, None, None])))

    def answer(self, embedded):
        """(B,64,h,w) -> logits (B,1+n,h,w), channel 0 none of them."""
        return self.classify(self.drop(F.relu(embedded)))

    def forward(self, features):
        return self.answer(self.embed(features))


class KnownHeads(nn.ModuleList):
    """A KnownThings for each of ``PARTS`` parts of the classes, learned without that part, and one of them all, the last.

    Empty until ``build``; a state dict with heads builds them too. ``parts``: False makes the last alone, as BAM has it.
    """

    def __init__(self, channels, parts=True):
        super().__init__()
        self.channels, self.parts = channels, parts
        self.register_load_state_dict_pre_hook(_build_for)

    def build(self, classes):
        """New heads for the class ids ``classes``. A single one leaves nothing to learn beside it: one head, which knows it."""
        classes = sorted(classes)
        parts = [classes[part::PARTS] for part in range(min(PARTS, len(classes)))] if self.parts and len(classes) > 1 else []
        self.replace([set(classes) - set(left) for left in (*parts, ())])

    def replace(self, learned):
        """One head for each set of class ids."""
        self._modules.clear()
        self.extend(KnownThings(self.channels, classes).requires_grad_(False).eval() for classes in learned)

    def train(self, mode=True):
        """They stand by while a decoder learns: no dropout, no gradient."""
        return super().train(False)

    def position(self, class_ids):
        """Class ids (B,) -> int64 (B,): the channel that each has in the last head's answer, 0 where it has none."""
        learned = self[-1].classes.tolist()
        return torch.tensor([1 + learned.index(c) if c in learned else 0 for c in class_ids.tolist()], device=class_ids.device)

    def of(self, class_ids):
        """Class ids (B,) -> B heads: the one that has left out a learned class, for any other the last."""
        learned = self[-1].classes.tolist()
        return [self[learned.index(c) % PARTS] if c in learned and len(self) > 1 else self[-1] for c in class_ids.tolist()]


def refuse_changing(backbone, frozen):
    """Raises InputError for a backbone whose features would not stay those that the heads have learned on."""
    if not frozen or backbone.batch_norm == "train":
        raise InputError("heads of known things", f"frozen {str(frozen).lower()}, batch norm {backbone.batch_norm}",
                         "a backbone that does not change, since they learn first", "Leave out frozen=false and --batch-norm train.")


def _build_for(heads, state, prefix, *_):
    numbers = {int(name[len(prefix):].split(".")[0]) for name in state if name.startswith(prefix)}
    learned = [state[f"{prefix}{n}.classes"].tolist() for n in sorted(numbers)]
    if learned != [head.classes.tolist() for head in heads]:
        heads.replace(learned)
