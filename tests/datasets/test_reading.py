"""reading.py and base.py's index: what is read, and the sentence for what is not."""

import numpy as np
import pytest
from fsslib.datasets.base import SegmentationDataset
from fsslib.datasets.reading import read_image, read_mask
from fsslib.basics.errors import InputError
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSSLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(call, path, found, cure):
    """The call raises an InputError with the file, what was found and a cure; returns its text."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert str(path) in text and found in text and cure in text and "expected" in text
    return text


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def photo(height=8, width=12):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def png(path, width, height, depth, colour, rows):
    """A PNG written by hand, for the bit depths that Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b""))
    return path


def test_image_is_read_as_it_is(tmp_path):
    image = photo()
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), image)


def test_exif_turned_image_stands_upright(tmp_path):
    image, exif = photo(4, 6), Image.Exif()
    exif[0x0112] = 6                                     # the camera was turned: show rotated 90 degrees clockwise
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(image, -1))


GREY = photo()[..., 0]
FULL = np.linspace(0, 65535, 96).reshape(8, 12).astype(np.uint16)
HALF = np.dstack([photo(), np.full((8, 12), 128, np.uint8)])


@pytest.mark.parametrize("name, make, expected", [
    ("grey.png", lambda p: save(p, GREY), np.repeat(GREY[..., None], 3, 2)),
    ("opaque.png", lambda p: save(p, np.dstack([photo(), np.full((8, 12), 255, np.uint8)])), photo()),
    ("half.png", lambda p: save(p, HALF), np.round(photo() * (128 / 255) + 255 * (127 / 255))),      # laid on white
    ("clear.png", lambda p: save(p, np.dstack([GREY, 0 * GREY])), np.full((8, 12, 3), 255)),
    ("black.png", lambda p: save(p, GREY > 99), np.repeat(255 * (GREY > 99)[..., None], 3, 2)),
    ("deep.png", lambda p: save(p, FULL), np.repeat(np.round(FULL / 257)[..., None], 3, 2)),
    ("deep.tif", lambda p: save(p, FULL), np.repeat(np.round(FULL / 257)[..., None], 3, 2)),
    ("twelve.tif", lambda p: save(p, FULL // 16), np.repeat(np.round(FULL // 16 * (255 / 4095))[..., None], 3, 2)),
    ("float.tif", lambda p: save(p, (FULL / 65535).astype(np.float32)), np.repeat(np.round(FULL / 257)[..., None], 3, 2)),
    ("deep rgb.png", lambda p: png(p, 2, 1, 16, 2, [bytes([200, 7, 100, 7, 0, 7, 255, 255, 1, 7, 50, 7])]),
     np.array([[[200, 100, 0], [255, 1, 50]]])),
    ("palette.png", lambda p: Image.fromarray(GREY // 64 * 64).convert("P").save(p), np.repeat((GREY // 64 * 64)[..., None], 3, 2)),
    ("a.bmp", lambda p: save(p, photo()), photo()),
    ("a.tiff", lambda p: save(p, photo(), compression="tiff_lzw"), photo()),
    ("a.webp", lambda p: save(p, photo(), lossless=True), photo()),
    ("a.ppm", lambda p: save(p, photo()), photo()),
    ("a.gif", lambda p: save(p, GREY), np.repeat(GREY[..., None], 3, 2)),
    ("named.jpg", lambda p: Image.fromarray(photo()).save(p, "PNG"), photo()),                       # a PNG in truth
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_can_be_read_without_doubt_is_read(tmp_path, name, make, expected):
    make(tmp_path / name)
    found = read_image(tmp_path / name)
    assert found.dtype == np.uint8 and found.shape == expected.shape
    np.testing.assert_allclose(found.astype(int), expected, atol=1)


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".jpe"])
def test_a_jpeg_of_any_name_and_kind(tmp_path, suffix):
    for mode in ("RGB", "L", "CMYK"):
        image = Image.fromarray(photo(16, 16)).convert(mode)
        image.save(tmp_path / f"a{suffix}", "JPEG", quality=100, subsampling=0)
        expected = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"))
        assert (read_image(tmp_path / f"a{suffix}") == expected).all() and expected.std() > 10


def test_mpo_is_its_first_picture(tmp_path):
    first, second = Image.new("RGB", (16, 16), (200, 100, 50)), Image.new("RGB", (16, 16))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").astype(int)[3, 3], (200, 100, 50), atol=3)


def test_a_broken_tag_is_no_damage(tmp_path):
    image = Image.fromarray(photo())
    image.save(tmp_path / "exif.png", exif=b"b'Exif\\x00\\x00MM")
    image.save(tmp_path / "comment.png", pnginfo=comment())
    broken = (tmp_path / "comment.png").read_bytes()
    at = broken.index(b"tEXt") + 8
    (tmp_path / "comment.png").write_bytes(broken[:at] + b"#" + broken[at + 1:])        # its checksum is now wrong
    for name in ("exif.png", "comment.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), photo())
    pixels = broken.index(b"IDAT") + 12
    (tmp_path / "comment.png").write_bytes(broken[:pixels] + b"####" + broken[pixels + 4:])
    refused(lambda: read_image(tmp_path / "comment.png"), "comment.png", "a damaged image", "Copy or download it again.")


def comment():
    from PIL import PngImagePlugin
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "hello")
    return about


@pytest.mark.parametrize("name, make, found, cure", [
    ("signed.tif", lambda p: save(p, np.array([[-5, 900]], np.int32)), "values from -5 to 900", "take this file out"),
    ("float.tif", lambda p: save(p, np.array([[0, 812.5]], np.float32)), "values from 0 to 812.5", "take this file out"),
    ("nan.tif", lambda p: save(p, np.array([[0, np.nan]], np.float32)), "values from nan to nan", "take this file out"),
    ("dark.png", lambda p: png(p, 2, 1, 16, 2, [bytes([0, 7, 9, 7, 0, 7, 5, 255, 1, 7, 5, 7])]), "only the lowest are used", "Scale it"),
    ("film.gif", lambda p: Image.fromarray(GREY).save(p, save_all=True, append_images=[Image.fromarray(GREY.T)]), "2 pictures", "a file of its own"),
    ("stack.tif", lambda p: Image.fromarray(GREY).save(p, save_all=True, append_images=[Image.fromarray(GREY)] * 2), "3 pictures", "a file of its own"),
    ("a.heic", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "a HEIC photo", "export it again"),
    ("a.jxl", lambda p: p.write_bytes(b"\xff\x0a\xfa\x7f"), "a JPEG XL photo", "export it again"),
    ("lfs.jpg", lambda p: p.write_text("version https://git-lfs.example/v1"), "a Git LFS pointer", "Replace the file"),
    ("page.jpg", lambda p: p.write_text("<!doctype html>"), "a text or a web page", "Replace the file"),
    ("empty.jpg", lambda p: p.write_bytes(b""), "an empty file", "Replace the file"),
    ("zeros.jpg", lambda p: p.write_bytes(bytes(100)), "no image: zeros", "Replace the file"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_photo_is_refused_by_its_content(tmp_path, name, make, found, cure):
    make(tmp_path / name)
    refused(lambda: read_image(tmp_path / name), tmp_path / name, found, cure)


def test_the_cure_that_is_code_gives_the_right_pixels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.linspace(-3, 500, 96, dtype=np.float32).reshape(8, 12)
    before = save(tmp_path / "it's.tif", values).read_bytes()
    code = refused(lambda: read_image(tmp_path / "it's.tif"), "it's.tif", "values from", "`").split("`")[1]
    exec(code, {})
    assert (tmp_path / "it's.tif").read_bytes() == before                    # the original stands
    np.testing.assert_allclose(read_image(tmp_path / "it's_8bit.png")[..., 0], (values + 3) / 503 * 255, atol=1)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", photo())
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))
    monkeypatch.setattr(Image, "open", closed)
    for read in (read_image, lambda p: read_mask(p, 1)):
        assert "damaged" not in refused(lambda: read(path), path, "cannot be read (Permission denied)", "permissions")


def test_large_photos_raise_no_warning_of_an_attack(tmp_path, monkeypatch, recwarn):
    path = save(tmp_path / "a.png", photo(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(path).shape == (40, 40, 3) and not recwarn.list


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_image(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", photo(200, 200))
    path.write_bytes(path.read_bytes()[:3000])
    refused(lambda: read_image(path), path, "a damaged image", "Copy or download it again.")


def test_file_that_is_no_image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<html>404</html>")
    refused(lambda: read_image(path), path, "no image: a text or a web page", "Replace the file")


def test_folder_and_missing_file(tmp_path):
    refused(lambda: read_image(tmp_path), tmp_path, "a folder", "path of a file")
    refused(lambda: read_image(tmp_path / "b.jpg"), tmp_path / "b.jpg", "no such file", "Put the file there")


def test_image_of_too_many_pixels(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", photo(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused(lambda: read_image(path), path, "too many pixels", "Scale it down.")


def test_palette_mask_gives_the_index_not_the_colour(tmp_path):
    ids = np.array([[0, 1, 2], [20, 255, 0]], np.uint8)
    image = Image.fromarray(ids)
    image.putpalette([7, 7, 7] * 256)                    # every class painted in one colour
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 20, (2, 3)), ids)


@pytest.mark.parametrize("depth, row, expected", [
    (1, bytes([0b01010000]), [0, 1, 0, 1]),
    (2, bytes([0b00011011]), [0, 1, 2, 3]),
    (4, bytes([0x01, 0x2F]), [0, 1, 2, 15]),
    (8, bytes([0, 1, 2, 255]), [0, 1, 2, 255]),
])
def test_grey_mask_of_few_bits_keeps_its_numbers(tmp_path, depth, row, expected):
    path = png(tmp_path / "a.png", 4, 1, depth, 0, [row])
    assert read_mask(path, 20, (1, 4)).tolist() == [expected]


def test_mask_of_another_size(tmp_path):
    path = save(tmp_path / "a.png", np.ones((4, 6), np.uint8))
    text = refused(lambda: read_mask(path, 1, (4, 7)), path, "a mask of 6x4 pixels", "Export the mask")
    assert "7x4" in text


def test_class_id_outside_the_list(tmp_path):
    path = save(tmp_path / "a.png", np.array([[0, 1, 21]], np.uint8))
    assert "1..20" in refused(lambda: read_mask(path, 20), path, "class id 21", "Correct the mask")


IDS = np.array([[0, 1, 2], [20, 255, 0]], np.uint8)


@pytest.mark.parametrize("name, make", [
    ("a.png", lambda p: save(p, IDS.astype(np.uint16))),
    ("a.png", lambda p: save(p, np.repeat(IDS[..., None], 3, 2))),
    ("a.png", lambda p: save(p, np.dstack([IDS, IDS, IDS, 0 * IDS + 255]))),
    ("a.tif", lambda p: save(p, IDS, compression="tiff_lzw")),
    ("a.bmp", lambda p: save(p, IDS)),
], ids=["16 bits", "three equal channels", "and opaque", "TIFF", "BMP"])
def test_numbers_that_a_mask_holds_without_doubt(tmp_path, name, make):
    make(tmp_path / name)
    found = read_mask(tmp_path / name, 20, (2, 3))
    assert found.dtype == np.uint8 and (found == IDS).all()


def smoothed():
    return np.asarray(Image.fromarray(np.kron([[0, 255], [255, 0]], np.ones((30, 30))).astype(np.uint8)).resize((40, 40)))


@pytest.mark.parametrize("make, found, cure", [
    (lambda p: save(p, photo()), "colours (96 of them", "--colours labelmap.txt"),
    (lambda p: save(p, np.dstack([GREY, GREY])), "colours", "class ids themselves"),
    (lambda p: Image.fromarray(IDS).save(p, "JPEG"), "a mask stored as JPEG called .png", "again as PNG"),
    (lambda p: Image.fromarray(IDS).save(p, "WEBP"), "a mask stored as WEBP called .png", "again as PNG"),
    (lambda p: save(p, smoothed()), "grey values from smoothing", "without smoothing"),
    (lambda p: save(p, np.where(IDS == 1, 65535, 0).astype(np.uint16)), "only 0 and 65535", "fsslib data masks"),
    (lambda p: save(p, np.array([[0, 24, 31]], np.uint8)), "class ids 24, 31", "line n names class n"),
    (lambda p: save(p, np.array([[0, 1]], np.float32), format="TIFF"), "values of mode F", "class ids themselves"),
], ids=["colours", "transparent", "JPEG", "WebP", "smoothed", "16-bit white", "gaps", "float"])
def test_other_kinds_of_mask(tmp_path, make, found, cure):
    make(tmp_path / "a.png")
    refused(lambda: read_mask(tmp_path / "a.png", 20), tmp_path / "a.png", found, cure)


def tiny(folder, masks):
    """A data set of two classes, image i grey value i."""
    data = SegmentationDataset()
    data.name, data.split, data.class_names = "tiny", "val", ("one", "two")
    data.ids = tuple(f"i{k}" for k in range(len(masks)))
    data.files = tuple((save(folder / f"{k}.jpg", np.full((2, 3, 3), k, np.uint8)),
                        save(folder / f"{k}.png", np.array(mask, np.uint8))) for k, mask in enumerate(masks))
    return data


MASKS = [[[0, 1, 1], [2, 255, 0]], [[2, 2, 2], [2, 2, 2]]]


def again(data):
    """The same data set without what it remembers, with a flag for every image that is read."""
    fresh, fresh.read = type("Fresh", (SegmentationDataset,), {})(), []
    for field in ("name", "split", "class_names", "ids", "files"):
        setattr(fresh, field, getattr(data, field))
    type(fresh).__getitem__ = lambda self, i: self.read.append(i) or SegmentationDataset.__getitem__(self, i)
    return fresh


def test_areas_by_hand_and_index_read_back(tmp_path):
    data = tiny(tmp_path, MASKS)
    assert data.areas.tolist() == [[2, 2, 1], [0, 0, 6]] and data.areas.dtype == np.int64
    fresh = again(data)
    assert fresh.areas.tolist() == data.areas.tolist() and fresh.digest == data.digest and fresh.read == []


def test_index_follows_a_changed_mask(tmp_path):
    data = tiny(tmp_path, MASKS)
    before = data.digest
    save(tmp_path / "1.png", np.ones((2, 3), np.uint8))
    fresh = again(data)
    assert fresh.areas[1].tolist() == [0, 6, 0] and fresh.digest != before and fresh.read == [0, 1]


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"no index"],
                         ids=["half", "empty", "text"])
def test_damaged_index_is_built_again(tmp_path, cache, damage):
    data = tiny(tmp_path, MASKS)
    expected, (path,) = data.areas.tolist(), (cache / "index").glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    fresh = again(data)
    assert fresh.areas.tolist() == expected and fresh.read == [0, 1]
    assert again(data).digest == data.digest and not list((cache / "index").glob("*.part"))


def test_same_bytes_elsewhere_have_the_same_digest(tmp_path):
    assert tiny(tmp_path / "a", MASKS).digest == tiny(tmp_path / "b", MASKS).digest


def test_list_entry_without_file(tmp_path):
    data = tiny(tmp_path, MASKS)
    (tmp_path / "1.png").unlink()
    refused(lambda: data.areas, tmp_path / "1.png", "no such file", "Put the file back")


def test_cache_that_is_a_file(tmp_path, monkeypatch):
    path = tmp_path / "taken"
    path.write_text("")
    monkeypatch.setenv("FSSLIB_CACHE", str(path))
    refused(lambda: tiny(tmp_path, MASKS).areas, path, "a file on this path", "Set FSSLIB_CACHE")


def test_bad_image_leaves_no_index(tmp_path, cache):
    data = tiny(tmp_path, MASKS)
    save(tmp_path / "1.png", np.full((2, 3), 3, np.uint8))
    refused(lambda: data.areas, tmp_path / "1.png", "class id 3", "Correct the mask")
    assert not list(cache.rglob("*.npz"))
