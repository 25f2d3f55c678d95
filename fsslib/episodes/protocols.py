"""Evaluation protocols: the choices behind a published number, each with its source.

Two papers' tables are comparable only where these fields agree. ``PROTOCOLS[name]`` holds what the released
code of each repository does; ``protocol.sources[field]`` says where that was read.
"""

from dataclasses import dataclass, field

from ..basics.errors import InputError


@dataclass(frozen=True)
class Protocol:
    """``split``: image list · ``queries``: how queries are drawn (below) · ``min_area``: px a class needs in an
    image for it to be a query image or a support · ``episodes``: number a run, by data set · ``seeds``: one a run ·
    ``resize``: ``"pad"`` (long side to ``size``, floored to a multiple of 8, black below and right) or ``"square"``
    (both sides to ``size``, aspect lost) · ``size``: px, by data set · ``scored``: at ``"original"`` or at ``"input"``
    size · ``absent``: a class missing from the truth is ``"counted"`` or ``"ignored"`` ·
    ``novel_in_training``: training images with novel classes are kept (``"background"``) or ``"dropped"``.

    ``queries``: ``"list"`` = images in list order, one class drawn from those present; ``"pairs"`` = (image,
    class) pairs in list order; ``"class"`` = class drawn uniformly, then its images.
    """
    name: str
    split: str
    queries: str
    min_area: int
    episodes: dict
    seeds: tuple
    resize: str
    size: dict
    scored: str
    absent: str
    novel_in_training: str
    sources: dict = field(repr=False)


def _pfenet_family(name, repo, episodes, seeds, seed_source, **changes):
    """PFENet's loader, shared by the repositories that grew from it."""
    fields = dict(
        split="val", queries="list", min_area=2048, episodes={**episodes, "shapes": 1000}, seeds=seeds,
        resize="pad", size={"voc": 473, "coco": 641, "shapes": 201}, scored="original", absent="counted",
        novel_in_training="background")
    sources = dict(
        split=f"{repo}: lists/pascal/val.txt, 1 449 images", queries=f"{repo}: util/dataset.py, image i of the list",
        min_area=f"{repo}: util/dataset.py, 2*32*32 px", episodes=f"{repo}: test loop; shapes: this kit",
        seeds=seed_source, resize=f"{repo}: util/transform.py test_Resize", size=f"{repo}: config; shapes: this kit",
        scored=f"{repo}: ori_resize in the config", absent=f"{repo}: util/util.py intersectionAndUnionGPU",
        novel_in_training=f"{repo}: util/dataset.py")
    for key, (value, source) in changes.items():
        fields[key], sources[key] = value, source
    return Protocol(name, **fields, sources=sources)


_UNSEEDED = "unseeded np.random.randint in the repository; fixed here so that the list can be repeated"

PROTOCOLS = {p.name: p for p in (
    _pfenet_family("pfenet", "PFENet", {"voc": 5000, "coco": 20000}, (321,), "PFENet: config manual_seed"),
    _pfenet_family("qgnet", "QGNet", {"voc": 1000, "coco": 1000}, (321,), "QGNet: config manual_seed"),
    _pfenet_family("bam", "BAM", {"voc": 1000, "coco": 1000}, (0, 1, 2, 3, 4), f"BAM: 5 runs, {_UNSEEDED}",
                   novel_in_training=("dropped", "BAM: filter_intersection=True")),
    _pfenet_family("symnet", "Sym-Net", {"voc": 1000, "coco": 5000}, (0, 1, 2, 3, 4), f"Sym-Net: 5 runs, {_UNSEEDED}",
                   scored=("input", "Sym-Net: ori_resize False"),
                   novel_in_training=("dropped", "Sym-Net: lists/pascal/fss_list")),
    Protocol("panet", split="train", queries="class", min_area=1, episodes={"voc": 1000, "coco": 1000, "shapes": 1000},
             seeds=(1234, 1235, 1236, 1237, 1238), resize="square", size={"voc": 417, "coco": 417, "shapes": 201},
             scored="input", absent="ignored", novel_in_training="background",
             sources=dict(split="PANet: test.py uses trainaug, as training does",
                          queries="PANet: dataloaders/customized.py", min_area="PANet: per-class lists by presence",
                          episodes="PANet: config n_steps; shapes: this kit", seeds="PANet: test.py, 5 runs from 1234",
                          resize="PANet: dataloaders/transforms.py Resize",
                          size="PANet: config input_size; shapes: this kit",
                          scored="PANet: labels resized with the image",
                          absent="PANet: util/metric.py", novel_in_training="PANet: dataloaders/customized.py")),
    Protocol("hsnet", split="val", queries="pairs", min_area=1, episodes={"voc": 1000, "coco": 1000, "shapes": 1000},
             seeds=(0,), resize="square", size={"voc": 400, "coco": 400, "shapes": 201}, scored="input",
             absent="counted", novel_in_training="background",
             sources=dict(split="HSNet: data/splits/pascal/val", queries="HSNet: data/pascal.py, pair i of the list",
                          min_area="HSNet ships a file of 346/451/725/346 pairs; this rule gives 440/514/804/390",
                          episodes="HSNet: data/pascal.py; shapes: this kit", seeds="HSNet: test.py, numpy seed 0",
                          resize="HSNet: data/dataset.py", size="HSNet: args img_size; shapes: this kit",
                          scored="HSNet: use_original_imgsize off", absent="HSNet: common/evaluation.py",
                          novel_in_training="HSNet: data/pascal.py")),
)}


def get_protocol(name):
    """The protocol of that name; an unknown name raises InputError."""
    if name not in PROTOCOLS:
        raise InputError("protocol", repr(name), f"one of {', '.join(PROTOCOLS)}", "Correct the name.")
    return PROTOCOLS[name]
