"""``fsslib predict``: masks for a folder of photos, from a few outlined ones, without training."""

import click

from ..basics.errors import InputError
from ..basics.storage import user_path
from . import cli
from .options import ROOT, options_of
from .paths import PATH

SHOWN = 60                                   # photos on the contact sheet
FORMAT_NAMES = ("coco", "yolo", "labelstudio", "geojson")

SUPPORTS = options_of(
    click.option("--support", "supports", nargs=2, multiple=True, metavar="[NAME=]IMAGE MASK", help="A photo and its mask, a picture of the "
                 "same size: 1 (or white) on the thing, 0 off it, 255 where it is not told. Again for more photos, and for more classes by NAME."),
    click.option("--box", "boxes", nargs=2, multiple=True, metavar="[NAME=]IMAGE BOX", help="A photo and a box around the thing, "
                 "LEFT,TOP,RIGHT,BOTTOM in pixels."))


@cli.command()
@SUPPORTS
@click.option("--query", type=PATH, metavar="DIR", help="The photos to segment.")
@ROOT
@click.option("--checkpoint", type=PATH, help="A checkpoint.pt of fsslib train; else PANet, which needs no training.")
@click.option("--size", type=int, default=225, show_default=True, help="To which a photo's long side is brought, px.")
@click.option("--out", type=PATH, help="Folder of the results.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMAT_NAMES), help="Also written for another tool; may be repeated.")
@click.option("--suggest", "suggested", type=PATH, metavar="DIR", help="Say which photos of DIR to outline first, and stop.")
def predict(supports, boxes, query, root, checkpoint, size, out, formats, suggested):
    """Segment photos after a few outlined ones.

    With --root, a folder of images/, masks/ and classes.txt: the masks there are the supports, images without a mask the photos.

    Writes masks/ (class numbers), overlays/, contact_sheet.jpg and predictions.json below --out. A call that was stopped goes on where it
    was; a damaged photo is told and left out.

    \b
      fsslib predict --suggest photos
      fsslib predict --support cup=photos/1.jpg 1.png --query photos --out runs/cups
    """
    from ..predict import Segmenter

    def segmenter():
        return Segmenter.load(checkpoint, size) if checkpoint else Segmenter(size=size)

    for folder in filter(None, (suggested, root, query)):
        if out and out.resolve() == folder.resolve():
            raise InputError("--out", f"{out}, the folder of your own photos", "another one, since results would lie between them", "Give another --out.")
    if suggested:
        return _suggest(segmenter(), suggested, out)
    if not out:
        raise InputError("--out", "none given", "a folder for the masks", "Give one.")
    if bool(root) == bool(supports or boxes):
        raise InputError("supports", "both --root and --support" if root else "none", "--support (or --box), or --root", "Give one kind.")
    learned = segmenter()
    _run(learned, _own_folder(learned, root, query) if root else _listed(learned, supports, boxes, query), out, formats)


def _run(segmenter, photos, out, formats):
    from ..explorers.pictures import contact_sheet, overlay, save_jpeg
    from ..datasets.reading import read_image, read_mask
    from ..predict.exports import export
    from ..predict.photos import segment_photos

    def draw(path, image, mask):
        save_jpeg(overlay(image, mask), out / "overlays" / f"{path.stem}.jpg")

    found = segment_photos(segmenter, photos, out, drawn=draw)
    rows = {row["file"]: row for row in found["photos"]}
    good = [path for path in photos if "error" not in rows[path.name]]
    drawn = [(path.name, out / "overlays" / f"{path.stem}.jpg") for path in good[:SHOWN]]
    if sheet := [(name, read_image(path)) for name, path in drawn if path.is_file()]:
        save_jpeg(contact_sheet(sheet), out / "contact_sheet.jpg")
    masks = {path: read_mask(out / "masks" / f"{path.stem}.png", len(segmenter.classes)) for path in good if formats}
    for kind in formats:
        scores = {path: {name: entry["score"] for name, entry in rows[path.name]["classes"].items()} for path in good}
        click.echo(f"{kind:12} {export(kind, out, [(path.name, masks[path], scores[path]) for path in good], segmenter.classes)}")
    _tell(found, len(photos) - len(good), out)


def _tell(found, passed_over, out):
    for name in found["classes"]:
        entries = [row["classes"][name] for row in found["photos"] if "classes" in row]
        click.echo(f"{name:12} marked in {sum(not entry['empty'] for entry in entries)} of {len(entries)} photos")
    click.echo((f"{passed_over} photos passed over (predictions.json says why)\n" if passed_over else "") + f"{out}")


def _named(text):
    """"cup=a.jpg" -> ("cup", path); without a name the class is "object". A path that exists as it is may hold a "="."""
    name, equals, rest = text.partition("=")
    return ("object", user_path(text)) if not equals or user_path(text).exists() else (name.strip() or "object", user_path(rest))


def _listed(segmenter, supports, boxes, query):
    from ..predict.photos import photos_in
    if not query:
        raise InputError("--query", "none given", "the folder of photos to segment", "Give one.")
    used = []
    for (text, annotation), kind in [*((pair, "mask") for pair in supports), *((pair, "box") for pair in boxes)]:
        name, image = _named(text)
        segmenter.learn(image, **{kind: user_path(annotation) if kind == "mask" else _four(annotation)}, name=name)
        used += [image, *([user_path(annotation)] if kind == "mask" else [])]
    return photos_in(query, used)


def _four(text):
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError("--box", repr(text), "LEFT,TOP,RIGHT,BOTTOM in pixels", "Correct it.") from error


def _own_folder(segmenter, root, query):
    from ..datasets import open_dataset
    from ..predict.photos import photos_in
    data = open_dataset("folder", root)
    for i in range(len(data)):
        sample = data[i]
        for c in sorted(set(sample.mask.ravel().tolist()) - {0, 255}):
            labels = (sample.mask == c).astype("uint8")
            labels[sample.mask == 255] = 255
            segmenter.learn(sample.image, mask=labels, name=data.class_names[c - 1])
    photos = photos_in(query) if query else list(data.unlabelled)
    if not photos:
        raise InputError(root, "a mask for every image", "images without a mask, or --query", "Add the photos to segment.")
    return photos


def _suggest(segmenter, folder, out):
    from ..explorers.pictures import contact_sheet, save_jpeg
    from ..predict.photos import photos_in
    from ..predict.suggest import mean_feature, suggest
    from ..datasets.reading import read_image
    from tqdm.auto import tqdm
    photos, vectors = [], []
    for path in tqdm(photos_in(folder), "photos", unit="photo"):
        try:
            vectors.append(mean_feature(segmenter, read_image(path)))
        except InputError as error:
            tqdm.write(f"passed over: {error}")
        else:
            photos.append(path)
    if not photos:
        raise InputError(folder, "no photo that can be read", "at least one", "Replace the damaged files.")
    found = suggest(vectors)
    for rank, (index, reason, distance) in enumerate(found, 1):
        click.echo(f"{rank}  {photos[index].name:30} {reason} (distance {distance:.2f}; 1: as two photos on average)")
    if out:
        save_jpeg(contact_sheet([(f"{rank}: {photos[index].name}", read_image(photos[index])) for rank, (index, _, _) in enumerate(found, 1)]),
                  out / "suggested.jpg")
        click.echo(f"{out / 'suggested.jpg'}")
