"""Known things are learned first: plain segmentation of the base classes, on features that are kept (``models/known.py``)."""

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from ..basics.seeds import stream

BATCH, LR, MEASURED = 16, 2e-3, 150    # images a step, and for the channels' spread
COARSE = 2                   # labels count at every second pixel
SHARE = 0.4                  # of the decoder's steps: what each head learns for


def fit_known(model, tensors, images, classes, config, progress=True):
    """Builds and trains ``model.known`` for the class ids ``classes``: every head for ``SHARE`` of ``config.steps``, on those
    of ``images`` (indices) that show none of what it leaves out; where these are fewer than ``BATCH``, on all, such pixels ignored.
    ``tensors``: the EpisodeTensors of the training, for their views.
    AdamW at 0.002, ``(1 - t/T)^0.9``, the decoder's weight decay; the seed alone decides.
    """
    model.known.build(classes)
    device, areas = next(model.parameters()).device, tensors.episodes.dataset.areas
    model.known.to(device)
    steps = max(1, round(SHARE * config.steps))
    for number, head in enumerate(model.known):
        learned = head.classes.tolist()
        left = [c for c in classes if c not in learned]
        allowed = [i for i in images if not (areas[i, left] > 0).any()]
        allowed = allowed if len(allowed) >= BATCH else images
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(config.seed, number))
            _fit(model, head, tensors, allowed, left, config, device,
                 tqdm(range(steps), desc=f"known things, {number + 1} of {len(model.known)}", unit="step", disable=not progress))


def _fit(model, head, tensors, images, left, config, device, steps):
    position = np.zeros(256, np.int64)
    position[[255, *left]], position[head.classes.tolist()] = 255, np.arange(1, 1 + len(head.classes))

    def drawn(count):
        """(features (B,C,h,w), labels int64 (B,S',S'): 0 nothing known, the head's number of a class, 255 ignored)."""
        at = torch.randint(len(images), (min(count, len(images)),)).tolist()
        pictures, masks = zip(*(tensors.picture(images[i]) for i in at))
        x = torch.stack(pictures).to(device)
        with torch.no_grad():
            x = model.encoders[0](x) if tensors.bank is None else x
        labels = position[torch.stack(masks)[:, ::COARSE, ::COARSE].numpy()]
        return x[:, :model.known.channels].float(), torch.from_numpy(labels).to(device)

    for module in (head.hidden, head.embedding, head.classify):
        module.reset_parameters()                                        # from this seed, whatever was drawn before
    seen = torch.stack([torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))])                       # never all at once
                        for x, _ in (drawn(BATCH) for _ in range(MEASURED // BATCH))]).mean(0)
    head.spread.copy_((seen[1] - seen[0].square()).clamp_min(1e-12).sqrt())
    learning = head.requires_grad_(True).parameters()
    optimizer = torch.optim.AdamW(learning, LR, weight_decay=config.weight_decay)
    head.train()
    for step in steps:
        x, y = drawn(BATCH)
        loss = F.cross_entropy(F.interpolate(head(x), y.shape[1:], mode="bilinear", align_corners=True), y, ignore_index=255)
        optimizer.param_groups[0]["lr"] = LR * (1 - step / len(steps)) ** 0.9
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    head.requires_grad_(False).eval()
