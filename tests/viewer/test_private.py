"""A running `ns-viewer` in the hands of strangers: its files, what pages send it, what they upload."""

import io
import itertools
import math
import os
import re
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import viser
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer_legacy.server.viewer_state import ViewerLegacyState
from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException, SetTrace
from PIL import Image
from viser.infra import WebsockServer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.viewer import private
from aed_nerfstudio.viewer.playback import wav
from tests.viewer.page_client import PART, Page
from tests.viewer.viewer_page import served

pytestmark = pytest.mark.hostile
SECRET = "nobody but its owner reads this"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("strangers") / "log"


@pytest.fixture(scope="module")
def port(run, log):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MALLOC_ARENA_MAX", "1")  # else glibc keeps memory for each thread, and growth tells nothing
        with served("ns-viewer", "--load-config", run / "config.yml", log=log) as port:
            yield port


@pytest.fixture
def page(port):
    with Page(port) as page:
        page.set("Max res", 64)
        page.wait(lambda: page.pictures)
        yield page


def speech(seconds: float) -> bytes:
    """A WAV file."""
    return wav(0.3 * np.sin(np.arange(round(seconds * 16000)) / 9))


# ---- files


def get(port: int, path: str, *headers: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Status and body of a request that is sent just so."""
    with socket.create_connection((host, port), 10) as connection:
        lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", "")
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def ways_out(secret: Path) -> list[str]:
    name, up = secret.as_posix(), "../" * 24
    return [
        f"/{up}{name[1:]}",
        f"/assets/{up}{name[1:]}",
        f"/{name}",
        f"/{up.replace('.', '%2e')}{name[1:]}",
        f"/{up.replace('../', '..%2f')}{name[1:]}",
        f"/{up.replace('/', chr(92))}{name[1:]}",
        name,
        f"file://{name}",
        f"http://127.0.0.1{name}",
        "/assets/../index.html",  # inside, but a name of its own, and each is kept
        "/assets/",
        f"/{'a' * 5000}",
        "/index.html%00",
    ]


def test_no_file_but_the_page_s_own_is_given(port, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    headers = "Accept: */*", "Upgrade: WebSocket", "Accept-Encoding: gzip"
    for path, header in itertools.product(ways_out(secret), headers):
        status, body = get(port, path, header)
        assert status != 200 and SECRET.encode() not in body, path
        assert path.startswith("/a") or status in (404, 400, 500), path
    status, body = get(port, "/")
    assert status == 200 and b"<html" in body
    assert get(port, "/index.html?x=../..") == (200, body)
    assert get(port, "/assets/nothing.js")[0] == 404


def test_also_when_it_is_open_to_all_and_through_links(tmp_path):
    """A server of its own, in a folder with a link."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "index.html").write_text("the page")
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "root" / "link.txt").symlink_to(tmp_path / "secret.txt")
    private.install()
    server = WebsockServer("0.0.0.0", 0, http_server_root=tmp_path / "root")
    server.start()
    try:
        port = server._ws_server.sockets[0].getsockname()[1]
        assert get(port, "/") == (200, b"the page")
        for path in ("/link.txt", *ways_out(tmp_path / "secret.txt")):
            assert get(port, path)[0] != 200, path
    finally:
        server.stop()


# ---- who is listened to


def listening(port: int) -> list[list[str]]:
    """What the kernel says of each socket that listens on a port: its address second, its inode tenth."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port]


def addresses(port: int) -> set[str]:
    """Where something listens on a port."""
    return {socket.inet_ntoa(struct.pack("<I", int(line[1].split(":")[0], 16))) for line in listening(port)}


needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")


@needs_proc
def test_it_listens_to_this_machine_and_says_so(port, log):
    assert addresses(port) == {"127.0.0.1"}
    printed = log.read_text()
    assert "open to this machine only. --viewer.websocket-host 0.0.0.0 opens it to the network" in printed


@pytest.mark.slow
@needs_proc
def test_asked_for_it_listens_to_all_and_says_what_that_means(run, tmp_path):
    arguments = ("--load-config", run / "config.yml", "--viewer.websocket-host=0.0.0.0")
    with served("ns-viewer", *arguments, log=tmp_path / "log") as port:
        assert addresses(port) == {"0.0.0.0"}
        assert "whoever reaches its port steers it and sees all that it shows" in (tmp_path / "log").read_text()
        for path in ways_out(Path("/etc/passwd")):
            assert get(port, path)[0] != 200


def test_the_legacy_viewer_is_refused():
    private.install()
    with pytest.raises(InputError, match="--vis viewer_legacy: "):
        ViewerLegacyState(ViewerConfig(), Path("log"), Path("data"), None)


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", "http://127.0.0.1:1", "https://127.0.0.1.evil"])
def test_pages_of_other_sites_may_not_connect(port, origin):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}", origin=origin)
    assert refused.value.response.status_code == 403


def test_a_name_that_was_made_to_mean_this_machine_does_not_help(port):
    """The site's page is loaded again from an address that its owner has set to 127.0.0.1: origin and host agree."""
    handshake = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        lines = ("GET / HTTP/1.1", "Host: evil.example", "Origin: http://evil.example", *handshake, key, "", "")
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(100).split()[1] == b"403"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_its_own_pages_may(port, name):
    with connect(f"ws://{name}:{port}", origin=f"http://{name}:{port}") as socket:
        assert socket.recv(timeout=10)


# ---- values, cameras, messages


VALUES = {
    "Pictures/s": (-5, 0, 1e9, math.nan, math.inf, "12", None, [], 2**62),
    "Max res": (0, -1, 14_000, 10**9, math.nan, "x", True),
    "Width": (14_000, 0, -3, math.inf),
    "Intensity": (-1.0, 7.0, math.nan, "no"),
    "Frame": (-1, 10**9, 0.5, "end"),
    "Emotion": ("angry", "", 3, None, "x" * 100_000),
    "Says": ("clip nobody", "../../etc/passwd"),
    "Output type": ("rgb2", 0),
    "Background color": ((1, 2), (-1, 300, 0), ("a", "b", "c"), 7),
    "Colour": ((1, 2, 3, 4), (math.nan, 0, 0)),
    "Resolution": ((0, 0), (1e12, 1e12), (math.nan, 1), 5),
    "Crop scale": ((math.inf, 0, 0), (1e300, 1e300, 1e300), (0,)),
    "Duration (sec)": (1e8, 5.0),  # disabled
    "FPS": (0, -1, 1e9),
    "Split percentage": (9.0, -9.0),
    "Min": (math.inf, 1e300, "0"),
    "Upload a sound": (1, "sound", {"name": "x"}),
    "Torso": ("yes", 2, None),
    "Render name": ("x" * 100_000, 5),
}


def test_no_value_of_one_page_stops_the_pictures_of_another(port, page, log):
    with Page(port) as other:
        other.wait(lambda: other.pictures)
        for label, values in VALUES.items():
            for value in values:
                page.set(label, value)
                for prop in ("visible", "update_cb", "gui_api", "is_button", "nothing"):
                    page.send("GuiUpdateMessage", id=page.id(label), updates={prop: value})
        page.set("Max res", 64)
        assert Image.open(io.BytesIO(other.another_picture(60))).size[0] <= 2048
        assert Image.open(io.BytesIO(page.another_picture(60))).size[0] <= 2048
        assert 64 <= other.value("Max res") <= 2048 and 64 <= other.value("Width") <= 1024
        other.wait(lambda: other.value("Split percentage") in (0.0, 1.0))  # told by another thread than pictures are
        assert 0.1 <= other.value("FPS") <= 240
        assert other.value("Duration (sec)") == 0 and other.value("Emotion") == "neutral"
        assert other.value("Pictures/s") == 12  # each browser's own


CAMERAS = (
    {"aspect": 1e9},
    {"aspect": 0.0},
    {"aspect": -1.0},
    {"aspect": math.nan},
    {"fov": 0.0},
    {"fov": 1e9},
    {"fov": math.inf},
    {"wxyz": [0.0, 0.0, 0.0, 0.0]},
    {"wxyz": [math.nan, 0.0, 0.0, 0.0]},
    {"wxyz": [1.0, 0.0]},
    {"position": [1e300, 0.0, 0.0]},
    {"position": [math.inf, 0.0, 0.0]},
    {"position": ["a", "b", "c"]},
    {"position": [0.0, 0.0, 0.0], "look_at": [0.0, 0.0, 0.0]},
    {"up_direction": [0.0, 0.0, 0.0]},
    {"look_at": None},
)


def test_no_camera_ends_the_pictures(port, page):
    with Page(port) as other:
        other.wait(lambda: other.pictures)
        for camera in CAMERAS:
            page.look(**camera)
        for one in (page, other):
            width, height = Image.open(io.BytesIO(one.another_picture(60))).size
            assert max(width, height) <= 10 * 2048


MESSAGES = (
    b"",
    b"\xc1",
    b"\x91" * 100_000,
    "text",
    [],
    {},
    {"type": 5},
    {"type": "Message"},
    {"type": "GuiUpdateMessage"},
    {"type": "GuiUpdateMessage", "id": [], "updates": 7},
    {"type": "ViewerCameraMessage", "wxyz": 1},
    {"type": "RunJavascriptMessage", "source": "alert(1)"},
    {"type": "ShareUrlRequest"},
    {"type": "ShareUrlDisconnect"},
    {"type": "TransformControlsUpdateMessage", "name": "Crop", "wxyz": [math.nan] * 4, "position": [0, 0, 0]},
    {"type": "SceneNodeClickMessage", "name": "/", "instance_index": None, "ray_origin": 0, "ray_direction": 0,
     "screen_pos": 0},
    {"type": "FileTransferPart", "source_component_id": "x", "transfer_uuid": "y", "part": 0, "content": b""},
)  # fmt: skip


def test_no_message_ends_a_connection_or_the_server(port, page, log):
    with Page(port) as other:
        other.wait(lambda: other.pictures)
        for message in MESSAGES:
            page.raw(message)
        for one in (page, other):
            assert one.another_picture(60)
    assert "Share URL" not in log.read_text()


def test_an_error_in_a_block_of_messages_does_not_silence_the_server():
    """viser kept the lock of the block, and nobody was sent anything any more."""
    private.install()
    server = viser.ViserServer("127.0.0.1", 0, verbose=False)
    try:
        with pytest.raises(KeyError), server.atomic(), server.atomic():
            raise KeyError
        assert not server._websock_server._atomic_lock.locked()
    finally:
        server.stop()


def test_two_threads_may_be_in_one_folder_at_once():
    """viser lost where one of them had been before, for good: a browser that it served had no panel of its own."""
    private.install()
    server = viser.ViserServer("127.0.0.1", 0, verbose=False)
    entered, left = threading.Event(), threading.Event()

    def other() -> str:
        with folder:
            entered.set()
            assert left.wait(10)
        return server.gui._get_container_id()

    try:
        folder, group = server.gui.add_folder("Folder"), server.gui.add_tab_group()
        tab = group.add_tab("Tab")
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(other)
            assert entered.wait(10)
            with tab, folder:
                inner = server.gui.add_folder("Inner")
            left.set()
            assert beside.result(10) == server.gui._get_container_id() == "root"
        assert inner._parent_container_id == folder._id
        with pytest.raises(KeyError), folder:
            raise KeyError
        assert server.gui._get_container_id() == "root"
    finally:
        server.stop()


LEAVES = """
@contextmanager
def halved():
    with torch.autocast("cpu", torch.bfloat16):
        yield

class Halved:
    def __enter__(self):
        self.within = halved()
        self.within.__enter__()

    def __exit__(self, *error):
        self.within.__exit__(*error)

def layer():
    return 1

def picture():
    with torch.autocast("cpu", torch.bfloat16):
        layer()
    with Halved():
        layer()
"""


@pytest.mark.parametrize(("module", "broken"), [("torch.amp.autocast_mode", 0), ("aed_nerfstudio.avatar", 3)])
def test_a_picture_that_is_broken_off_leaves_nothing_behind(module, broken):
    """Broken off while torch left autocast, a browser's pictures stayed in bfloat16 and failed from then on."""
    private.install()
    space = {"__name__": module, "torch": torch, "contextmanager": contextmanager}
    exec(LEAVES, space)
    machine = RenderStateMachine(None, 10.0, None)
    seen = times = 0

    def trace(frame, event, arg):
        """Says at an event that something has changed. It is told of lines wherever nerfstudio's tracer would be."""
        nonlocal seen
        seen += 1
        machine.interrupt_render_flag = seen == event_number
        return trace if machine.check_interrupt(frame, event, arg) is None else None

    for event_number in itertools.count(1):
        seen = 0
        try:
            with SetTrace(trace):
                space["picture"]()
        except IOChangeException:
            times += 1
        finally:
            left, _ = torch.is_autocast_enabled("cpu"), torch.set_autocast_enabled("cpu", False)
        assert not left, event_number
        if seen < event_number:
            break
    assert seen > 40
    assert times == broken


# ---- a render name


NAMES = ["../stolen", "/tmp/stolen", "a/b", "..", ".hidden", "a\\b", "", "a\0b", "x" * 101, "$(id)", "a;b"]


@pytest.fixture
def camera_paths(page) -> Path:
    """Where nerfstudio writes camera paths, as it says itself."""
    page.set("Render name", "my path 1")
    page.press("Generate Command")
    told = page.wait(lambda: re.search(r"--camera-path-filename (.*)/my path 1.json", repr([*page.controls.values()])))
    folder = Path(told[1])
    page.wait(lambda: (folder / "my path 1.json").read_text().endswith("}"))
    return folder


def test_a_render_name_is_no_path(page, camera_paths):
    before = set(camera_paths.parent.parent.rglob("*.json"))
    assert camera_paths / "my path 1.json" in before
    for name in NAMES:
        page.notes.clear()
        page.set("Render name", name)
        page.press("Generate Command")
        page.told("is no name for a file")
    assert set(camera_paths.parent.parent.rglob("*.json")) == before and not Path("/tmp/stolen.json").exists()


def test_a_camera_path_is_not_written_through_a_link(page, camera_paths, tmp_path):
    (tmp_path / "mine.json").write_text("mine")
    link = camera_paths / "linked.json"
    link.symlink_to(tmp_path / "mine.json")
    page.set("Render name", "linked")
    page.press("Generate Command")
    page.told("is a link")
    assert (tmp_path / "mine.json").read_text() == "mine"
    link.unlink()


# ---- uploads


def test_an_upload_is_its_browser_s_own(port, page):
    with Page(port) as other:
        other.wait(lambda: other.pictures)
        other.wait(lambda: other.controls[other.id("Frame")]["max"] == 39)  # its panel is whole
        before = other.another_picture()
        page.upload("Upload a sound", "my secret plan.wav", speech(2.0))
        page.wait(lambda: page.value("Says") == "my secret plan.wav", 60)
        page.press("Speech > Play")
        page.wait(lambda: any("aedSound.load" in script for script in page.scripts))
        assert page.controls[page.id("Frame")]["max"] == 49
        picture = io.BytesIO()
        Image.new("RGB", (30, 30), (255, 0, 0)).save(picture, "PNG")
        page.upload("Upload a picture", "wall.png", picture.getvalue())
        page.wait(lambda: page.value("Behind") == "uploaded picture")
        assert other.value("Says").startswith("clip ") and other.value("Behind") == "original"
        assert "secret" not in repr([*other.controls.values(), other.notes, other.scripts])
        other.wait(lambda: other.controls[other.id("Frame")]["max"] == 39)
        assert not other.scripts
        other.set("Says", "my secret plan.wav")
        other.send("GuiUpdateMessage", id=page.id("Says"), updates={"value": "my secret plan.wav"})
        other.press("Speech > Play")
        other.wait(lambda: any("aedSound.load" in script for script in other.scripts))
        assert "secret" not in other.value("Says")
        assert len(other.scripts[0]) < 2 * 1.6 * 16000 * 4 / 3 + 20_000  # the clip, 1.6 s
        assert "FileTransferPartAck" not in other.seen and "FileTransferPartAck" in page.seen
        assert before


def test_too_large_too_long_or_empty_is_refused_before_it_is_kept(page, port):
    page.upload("Upload a sound", "huge.wav", b"x" * PART, size=65 * 2**20, parts=130)
    page.told("huge.wav: 65 MiB are too much for the viewer, which takes 64")
    page.upload("Upload a sound", "liar.wav", b"x" * (3 * PART), size=PART + 5)  # more than was announced
    page.told("liar.wav: did not arrive as it was announced")
    page.upload("Upload a sound", "less.wav", b"x" * PART, size=PART + 1, parts=1)
    page.told("less.wav: did not arrive as it was announced")
    page.upload("Upload a sound", "parts.wav", b"x", parts=10**12)
    page.told("parts.wav: does not arrive in parts")
    page.upload("Upload a sound", "nothing.wav", b"")
    page.told("nothing.wav: is empty")
    page.upload("Upload a sound", "negative.wav", b"x", size=-5, parts=1)
    page.told("negative.wav: is empty")
    page.upload("Upload a sound", "long.wav", speech(10 * 60 + 1))
    page.told("long.wav: its sound is longer than 10 min", 60)
    page.upload("Upload a sound", "short.wav", speech(1.0))  # and nothing is in its way
    page.wait(lambda: page.value("Says") == "short.wav", 60)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("../../x", "x: "),
        ("/etc/passwd", "passwd: "),
        ("a" * 5000, "aaa…aaa"),
        ("a." + "b" * 5000, "a.bbb"),
        ("none", "none: "),
        ("nul\0.wav", "nul.wav: "),
        ("<img src=x onerror=alert(1)>.wav", "onerror=alert(1)>.wav: "),
        ("\n\r\x1b[2J.mp3", "[2J.mp3: "),
        ("", "upload: "),
    ],
)
def test_odd_names_get_an_answer(page, log, name, named):
    before = log.read_text().count("Traceback")
    page.upload("Upload a sound", name, b"no sound" * 100)
    note = page.told("This cannot be used")
    if "…" in named:
        assert "…" in note and len(note) < 400
    else:
        assert named in note and "/tmp" not in note
    page.notes.clear()
    page.upload("Upload a picture", name, b"no picture" * 100)
    page.told("is no picture")
    assert log.read_text().count("Traceback") == before


def test_pictures_that_swell_are_refused(page):
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    page.upload("Upload a picture", "bomb.png", bomb.getvalue())
    page.told("bomb.png: 12000x12000 pixels are too many")
    page.upload("Upload a picture", "script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    page.told("script.eps: is no picture")


def test_playlists_are_refused(page, tmp_path):
    (tmp_path / "secret.wav").write_bytes(speech(1.0))
    page.upload("Upload a sound", "list.txt", b"ffconcat version 1.0\nfile secret.wav\n")
    page.told("list.txt: ")


def test_a_file_goes_only_to_a_button_for_files_and_only_one_s_own(port, page):
    with Page(port) as other:
        other.wait(lambda: other.pictures)
        theirs = page.id("Upload a sound")
        for target in (theirs, other.id("Width"), other.id("Torso"), "nothing"):
            fields = {"source_component_id": target, "transfer_uuid": "t"}
            other.send("FileTransferStart", **fields, filename="x", mime_type="", part_count=1, size_bytes=1)
            other.send("FileTransferPart", **fields, part=0, content=b"x")
        other.set("Width", 70)
        other.wait(lambda: page.value("Width") == 70)
        assert not page.notes and "FileTransferPartAck" not in other.seen
        other.set("Width", 64)


# ---- memory and descriptors


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def process_of(port: int) -> int:
    """The one that listens on a port."""
    sockets = {f"socket:[{line[9]}]" for line in listening(port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) in sockets:
                return int(descriptor.parts[2])
        except OSError:
            continue
    raise LookupError(port)


@needs_proc
def test_memory_and_descriptors_end_growing_over_updates_and_browsers(port, page):
    pid = process_of(port)

    def updates(count: int) -> None:
        for number in range(count):
            page.set("Frame", number % 40)
            page.set("Share", number / count)
            page.set("Max res", 64 + number % 2)
            if number % 10 == 0:
                page.another_picture(60)

    def browsers() -> None:
        pages = [Page(port) for _ in range(10)]
        for one in pages:
            one.wait(lambda one=one: one.pictures, 60)
        for number, one in enumerate(pages):
            one.upload("Upload a sound", f"{number}.wav", speech(1.0))
            one.upload("Upload a picture", "left.png", b"", size=2**20, parts=2)  # never finished
            one.press("Speech > Play")
        for one in pages:
            one.wait(lambda one=one: one.scripts, 60)
            one.__exit__()

    def left() -> tuple[float, int]:
        end = time.monotonic() + 20
        while descriptors(pid) > before[1] + 2 and time.monotonic() < end:
            time.sleep(0.2)
        return resident(pid), descriptors(pid)

    updates(50)
    browsers()  # what is made once, is made
    time.sleep(1)
    before = resident(pid), descriptors(pid)
    rounds = [before]
    # Each of viser's 32 threads keeps some MiB of the first picture or sound that it works on; then growth ends.
    while len(rounds) < 10 and (len(rounds) < 2 or rounds[-1][0] - rounds[-2][0] >= 8):
        updates(200)
        browsers()
        rounds.append(left())
    print("MiB and descriptors by round:", *rounds)
    assert rounds[-1][0] - rounds[-2][0] < 8
    assert rounds[-1][0] - before[0] < 150
    assert rounds[-1][1] <= before[1] + 2


def test_a_part_that_is_missing_is_named(monkeypatch):
    monkeypatch.delattr(RenderStateMachine, "_render_img")
    with pytest.raises(InputError, match="RenderStateMachine._render_img.*viser==0.2.7"):
        private.check_parts()
