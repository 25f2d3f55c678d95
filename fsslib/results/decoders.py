"""Tables of the studies of decoders: systems fold by fold, paired differences, ablations, the choice of the recipe."""

FOLDS = range(4)
KEYS = ("model", "fold", "shots", "extractor", "guided", "projection")
SYSTEMS = {"qgnet": "QGNet", "pfenet": "PFENet", "panet-free": "PANet, training-free", "panet-par": "PANet, trained",
           "blind": "blind to the support"}
EXTRACTORS = {"random": "random", "imagenet": "ImageNet itself", "both": "global + local contrast, SLIC",
              "felzenszwalb": "global + local contrast, Felzenszwalb", "half": "global + local contrast, Felzenszwalb, half of the epochs",
              "global": "global contrast", "local": "local contrast, SLIC", "vgg": "global + local contrast, SLIC, VGG-16"}
PAIRS = (("qgnet", "pfenet"), ("qgnet", "panet-free"), ("pfenet", "panet-free"), ("pfenet", "blind"))
CHOICES = {"papers": "SGD at 0.025, all images", "dropped": "+ images with novel classes dropped", "adamw": "+ AdamW",
           "weighted": "+ object pixels count double", "centred": "+ guided map of centred layers",
           "shares": "+ equal shares of query, prototype, maps: the recipe", "slower": "recipe with half the learning rate",
           "faster": "recipe with twice the learning rate", "decay": "recipe with 5 times the weight decay",
           "wide": "recipe with width 128"}
PUBLISHED = [                                # PASCAL-5i, mIoU %: label, shots, folds, mean; QGNet paper, Table 1
    ("PANet VGG-16 417, own protocol", 1, (42.3, 58.0, 51.1, 41.2), 48.1),
    ("QGNet VGG-16 321", 1, (52.9, 65.0, 50.7, 51.6), 55.0), ("QGNet VGG-16 473", 1, (58.6, 67.2, 52.3, 52.0), 57.5),
    ("PFENet ResNet-50 473", 1, (61.7, 69.5, 55.4, 56.3), 60.8), ("QGNet ResNet-50 473", 1, (63.4, 69.4, 55.1, 58.4), 61.6),
    ("PANet VGG-16 417, own protocol", 5, (51.8, 64.6, 59.8, 46.5), 55.7),
    ("QGNet VGG-16 321", 5, (56.8, 67.3, 51.2, 58.2), 58.3), ("QGNet VGG-16 473", 5, (58.7, 68.4, 52.6, 55.0), 58.7),
    ("PFENet ResNet-50 473", 5, (63.1, 70.7, 55.8, 57.9), 61.9), ("QGNet ResNet-50 473", 5, (64.7, 71.0, 53.6, 61.6), 62.8)]


def systems_table(table, published=None):
    """(header, rows of text): mIoU ± half its 95 % interval of each system, 1- and 5-shot, on each fold and in the mean.

    *n* behind a number: mean of so many training seeds. ``published``: with those of the papers' rows below whose
    label begins so, ``""`` all.
    """
    rows = []
    for shots in (1, 5):
        for model, label in _systems(table).items():
            cells = [_mean(table, model, fold, shots) for fold in (*FOLDS, -1)]
            rows.append([f"{label}, {shots}-shot", *(_cell(cell) for cell in cells)])
        if published is not None:
            rows += [[f"published: {label}, {shots}-shot", *(f"{v:.1f}" for v in folds), f"{mean:.1f}"]
                     for label, k, folds, mean in PUBLISHED if k == shots and label.startswith(published)]
    return ["mIoU %", *(f"fold {fold}" for fold in FOLDS), "mean"], rows


def differences_table(table):
    """(header, rows of text): paired differences between systems in points with 95 % intervals; with several seeds their
    single differences in brackets."""
    rows = []
    for shots in (1, 5):
        for one, other in (pair for pair in PAIRS if set(pair) <= set(_systems(table))):
            found = {d["fold"]: _gap(d) for d in table["differences"] if d["kind"] == "systems"
                     and (d["one"], d["other"], d["shots"]) == (one, other, shots)}
            rows.append([f"{SYSTEMS[one]} - {SYSTEMS[other]}, {shots}-shot",
                         *(found.get(fold, "not run") for fold in (*FOLDS, -1))])
    return ["mIoU points", *(f"fold {fold}" for fold in FOLDS), "mean"], rows


def _systems(table):
    """dict name -> label of the systems that a study compares."""
    models = table["settings"].get("models", ("qgnet", "pfenet"))
    return {k: v for k, v in SYSTEMS.items() if k in models or (k.startswith("panet") and table["settings"]["panet"])}


def ablation_table(table):
    """(header, rows of text): QGNet on the ablation's fold, 1-shot, and every variation of it, best first."""
    fold = table["settings"]["ablation"]
    reference = _mean(table, "qgnet", fold, 1)
    rows = [[f"QGNet: {_label(reference)}", _cell(reference), _seeds(reference), "-"]] if reference else []
    for d in sorted((d for d in table["differences"] if d["kind"] == "ablation"), key=lambda d: -d["difference"]):
        mean = next(m for m in table["means"] if all(m[k] == d[k] for k in KEYS))
        rows.append([_label(mean), _cell(mean), _seeds(mean), _gap(d)])
    run, missing = (list(dict.fromkeys(name.split("-fold")[0] for name in names))
                    for names in ([row["name"] for row in table["rows"]], table["not_run"]))
    rows += [[f"{table['command']} --only {name}-fold", *["not run"] * 3] for name in missing if name not in run]
    return [f"fold {fold}, 1-shot", "mIoU %", "each seed", "against QGNet, points"], rows


def choices_table(table):
    """(header, rows of text) of the study that chose the recipe: mIoU ± half its 95 % interval on base classes that the
    training did not see, for each fold that the choice is for, and in brackets the paired change against the row above, or
    against the recipe for its neighbours."""
    change = {(d["choice"], d["fold"]): " ({difference:+.1f}: {interval[0]:+.1f} to {interval[1]:+.1f})".format(**d)
              for d in table["differences"]}
    found = {(row["choice"], row["fold"]): row for row in table["rows"]}
    rows = [[label, *(_cell({**found[name, fold], "seeds": {}}) + change.get((name, fold), "") if (name, fold) in found
                      else "not run" for fold in FOLDS)] for name, label in CHOICES.items()]
    return ["mIoU %, base classes", *(f"for fold {fold}" for fold in FOLDS)], rows


def _mean(table, model, fold, shots):
    settings, qgnet = table["settings"], model == "qgnet"
    wanted = dict(model=model, fold=fold, shots=shots, guided=model != "blind",
                  extractor=settings["extractor"][max(fold, 0)] if qgnet else "",
                  projection=settings["projection"] if qgnet else "none")
    return next((m for m in table["means"] if all(m[k] == wanted[k] for k in KEYS)), None)


def _label(mean):
    if mean["model"] == "blind":
        return "neither map nor prototype: blind to the support"
    if mean["model"] == "pfenet":
        return "guided map alone (PFENet)" if mean["guided"] else "no map"
    extractor = EXTRACTORS[mean["extractor"]]
    maps = "both maps" if mean["guided"] else "prior map alone"
    return f"{maps}, extractor: {extractor}" + ("" if mean["projection"] == "none" else ", learned projection")


def _cell(mean):
    if mean is None:
        return "not run"
    low, high = mean["interval"]
    seeds = len(mean["seeds"])
    return f"{mean['miou']:.1f} ± {(high - low) / 2:.1f}" + (f" ({seeds})" if seeds > 1 else "")


def _seeds(mean):
    return " ".join(f"{v:.1f}" for v in mean["seeds"].values())


def _gap(difference):
    low, high = difference["interval"]
    seeds = difference["seeds"]
    return f"{difference['difference']:+.1f} ({low:+.1f} to {high:+.1f})" + (
        f" [{' '.join(f'{v:+.1f}' for v in seeds)}]" if len(seeds) > 1 else "")
