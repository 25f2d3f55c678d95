"""fetch against a small server on this machine: whole, short, changed, evil, out of reach."""

import hashlib
import http.server
import io
import socket
import tarfile
import threading

import pytest
from fsslib.datasets import download
from fsslib.datasets.download import Part, fetch, unpack, voc_parts
from fsslib.basics.errors import InputError

pytest.importorskip("pooch")


def tar_of(**files):
    """Bytes of a tar.gz; a value that is a TarInfo is added as it stands."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = tar_of(**{"VOCdevkit/VOC2012/JPEGImages/a.jpg": b"a" * 5000, "VOCdevkit/VOC2012/README": b"hello"})


class Handler(http.server.BaseHTTPRequestHandler):
    """``/whole`` sends the server's content, ``/short`` closes half-way, ``/wrong`` sends other bytes."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.content
        if self.path == "/none":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write({"/short": content[:len(content) // 2], "/wrong": b"x" * len(content)}
                         .get(self.path, content))

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.asked = GOOD, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def part(server, path="/whole", **changes):
    fields = dict(url=f"http://127.0.0.1:{server.server_port}{path}", md5=hashlib.md5(server.content).hexdigest(),
                  file="voc.tar", inside="VOCdevkit/VOC2012", target="VOCdevkit/VOC2012")
    return Part(**(fields | changes))


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


WHOLE = ["VOCdevkit/VOC2012/JPEGImages/a.jpg", "VOCdevkit/VOC2012/README", "downloads/voc.tar"]


def refused(call, where, found, cure):
    with pytest.raises(InputError) as caught:
        call()
    assert str(where) in str(caught.value) and found in str(caught.value) and cure in str(caught.value)


def test_whole_download_is_unpacked_once(server, tmp_path):
    assert fetch("voc", tmp_path, progress=False, addresses=[part(server)]) == tmp_path
    assert files(tmp_path) == WHOLE
    assert (tmp_path / "VOCdevkit/VOC2012/JPEGImages/a.jpg").read_bytes() == b"a" * 5000
    (tmp_path / "VOCdevkit/VOC2012/README").write_text("mine")
    fetch("voc", tmp_path, progress=False, addresses=[part(server)])
    assert server.asked == ["/whole"] and (tmp_path / "VOCdevkit/VOC2012/README").read_text() == "mine"


def test_complete_archive_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "voc.tar").write_bytes(GOOD)
    fetch("voc", tmp_path, progress=False, addresses=[part(server)])
    assert server.asked == [] and files(tmp_path) == WHOLE


def test_what_a_killed_process_left_is_swept(server, tmp_path):
    for path in ("downloads/tmpabc", "VOCdevkit/.VOC2012.part/VOCdevkit/VOC2012/half.jpg", "downloads/voc.tar"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"half")
    fetch("voc", tmp_path, progress=False, addresses=[part(server)])
    assert files(tmp_path) == WHOLE


@pytest.mark.parametrize("path, found", [("/short", "no complete download"), ("/wrong", "another checksum"),
                                         ("/none", "no complete download")])
def test_broken_download_leaves_nothing(server, tmp_path, path, found):
    bad = part(server, path)
    refused(lambda: fetch("voc", tmp_path, progress=False, addresses=[bad]), bad.url, found,
            f"save it as {tmp_path / 'downloads' / 'voc.tar'}")
    assert files(tmp_path) == []
    fetch("voc", tmp_path, progress=False, addresses=[part(server)])          # and the next call completes it
    assert files(tmp_path) == WHOLE


def test_network_out_of_reach(tmp_path, server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))             # bound and not listening: refuses every connection
        nowhere = part(server, url=f"http://127.0.0.1:{taken.getsockname()[1]}/voc.tar")
        refused(lambda: fetch("voc", tmp_path, progress=False, addresses=[nowhere]), nowhere.url,
                "no complete download (ConnectionError", "download it in a browser")
    assert files(tmp_path) == []


def test_optional_part_may_fail(server, tmp_path):
    extra = part(server, "/none", file="extra.txt", inside="", target="sbd/extra.txt", optional=True)
    fetch("voc", tmp_path, progress=False, addresses=[extra, part(server)])
    assert files(tmp_path) == WHOLE


def test_single_file_takes_its_place(server, tmp_path):
    fetch("voc", tmp_path, progress=False, addresses=[part(server, file="l.txt", inside="", target="sbd/l.txt")])
    assert files(tmp_path) == ["sbd/l.txt"] and (tmp_path / "sbd/l.txt").read_bytes() == GOOD


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def device(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    return info


@pytest.mark.parametrize("name, content", [
    ("../outside.txt", b"x"), ("VOCdevkit/VOC2012/../../../outside.txt", b"x"), ("/tmp/fsslib_outside.txt", b"x"),
    ("VOCdevkit/VOC2012/l", link("VOCdevkit/VOC2012/l", "../../../..")),
    ("VOCdevkit/VOC2012/l", link("VOCdevkit/VOC2012/l", "/etc")),
    ("VOCdevkit/VOC2012/l", link("VOCdevkit/VOC2012/l", "../../../outside.txt", tarfile.LNKTYPE)),
    ("VOCdevkit/VOC2012/null", device("VOCdevkit/VOC2012/null")),
], ids=["up", "up inside", "absolute", "link up", "link absolute", "hard link", "device"])
def test_evil_archive_leaves_nothing(server, tmp_path, name, content):
    server.content = tar_of(**{"VOCdevkit/VOC2012/good.txt": b"good", name: content})
    root = tmp_path / "root"
    archive = root / "downloads" / "voc.tar"
    refused(lambda: fetch("voc", root, progress=False, addresses=[part(server)]), archive,
            "a path that leaves the archive's folder", "Do not use this file")
    assert files(tmp_path) == ["root/downloads/voc.tar"]


@pytest.mark.parametrize("content, found", [(GOOD[:len(GOOD) // 2], "no whole tar file"), (b"no tar", "no whole tar"),
                                            (tar_of(**{"else/a.txt": b"a"}), "no folder VOCdevkit/VOC2012")],
                         ids=["half", "text", "another"])
def test_archive_that_is_none(tmp_path, content, found):
    archive = tmp_path / "a.tar"
    archive.write_bytes(content)
    refused(lambda: unpack(archive, "VOCdevkit/VOC2012", tmp_path / "VOCdevkit" / "VOC2012", progress=False),
            archive, found, "run this again")
    assert files(tmp_path) == ["a.tar"]


def test_root_that_is_a_file_and_other_name(tmp_path):
    (tmp_path / "file").write_text("")
    refused(lambda: fetch("voc", tmp_path / "file", addresses=[]), tmp_path / "file", "a file on this path",
            "FSSLIB_DATA")
    refused(lambda: fetch("coco", tmp_path), "data set", "'coco'", "'shapes' is drawn")


def test_without_pooch(server, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    refused(lambda: download.download(part(server), tmp_path), "pooch", "not installed", "pip install pooch")


def test_published_addresses():
    voc, sbd, extra = voc_parts()
    assert voc.file == "VOCtrainval_11-May-2012.tar" and len(voc.md5) == 32
    assert sbd.file == "benchmark.tgz" and extra.optional and not (voc.optional or sbd.optional)
