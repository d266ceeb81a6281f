"""All that we use of viser 0.2.7 and nerfstudio 1.1.5 that they do not promise, most of it to guard the viewer: they
trust whoever reaches their port.

viser's file server leaves its folder, its server takes every value of every control from every page, keeps whatever is
uploaded, and stops for all when a message of one is not understood. These have no settings, so `install` puts functions
of ours before theirs, each at the one place where all requests, messages, values or pictures pass.
"""

from __future__ import annotations

import asyncio
import http
import inspect
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakSet

import viser
import websockets.exceptions
import websockets.server
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer import viewer as nerfstudio_viewer
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer_legacy.server.viewer_state import ViewerLegacyState
from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException
from viser import _gui_api, _gui_handles, _icons, _messages
from viser._gui_handles import GuiUploadButtonHandle, UploadedFile, _GuiInputHandle
from viser.infra import _infra

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import inside
from aed_nerfstudio.viewer.uploads import Limits, shown
from aed_nerfstudio.visitors import is_this_machine, welcome

PACKAGE = __name__.partition(".")[0] + "."
REFUSED = "This cannot be used"
THIS_MACHINE, EVERYBODY = "127.0.0.1", "0.0.0.0"
HOST_FLAGS = "--viewer.websocket-host", "--websocket-host"
"""Of nerfstudio's commands, and of `aed view`."""
ARRIVING = 1.0
"""Seconds that a page's first value waits for its camera."""
LONGEST_TEXT = 1000
"""Characters in a text field."""
LONGEST_NAME = 100
LARGEST_NUMBER = 1e9
"""Where a control has no ends of its own."""
FARTHEST = 1e6
"""Of the camera, in the units of viser's scene."""
ASPECT, FOV = (0.1, 10.0), (0.01, 3.0)
"""Of a page's window, width over height, and radians. Pictures are padded to the window's shape."""
FROM_PAGES = (
    _messages.FileTransferPart,
    _messages.FileTransferStart,
    _messages.GuiUpdateMessage,
    _messages.SceneNodeClickMessage,
    _messages.ScenePointerMessage,
    _messages.TransformControlsUpdateMessage,
    _messages.ViewerCameraMessage,
)
"""What a page may send. Not viser's request for a public address: that is for who started the program."""

PARTS = {
    _infra: ("WebsockServer", "WebsockMessageHandler", "_message_consumer", "websockets"),
    _infra.WebsockServer: ("_background_worker",),
    _infra.WebsockMessageHandler: ("atomic", "queue_message"),
    _messages: ("RunJavascriptMessage", "FileTransferPartAck", *(kind.__name__ for kind in FROM_PAGES)),
    viser.ViserServer: ("request_share_url",),
    viser.GuiApi: (
        "configure_theme",
        "_create_gui_input",
        "_handle_gui_updates",
        "_handle_file_transfer_start",
        "_handle_file_transfer_part",
        "_get_container_id",
        "_set_container_id",
    ),
    _gui_api: ("svg_from_icon",),
    _gui_handles: ("svg_from_icon", "GuiFolderHandle", "GuiModalHandle", "GuiTabHandle"),
    nerfstudio_viewer: ("populate_render_tab",),
    nerfstudio_viewer.Viewer: ("init_scene", "update_scene", "get_camera_state"),
    RenderStateMachine: ("_calculate_image_res", "check_interrupt", "_render_img", "_send_output_to_viewer"),
    ViewerLegacyState: ("__init__",),
}
"""What must be there, by its owner."""
_installed = False
_shared: WeakSet[_infra.WebsockServer] = WeakSet()
"""Servers that who started the program has given a public address."""
_serving = threading.local()
"""`server`: the one whose thread this is."""
_containers = threading.local()
"""`left`: where this thread made controls before each of the folders that it is in."""


def install() -> None:
    """Guards every viewer of this process; to be called before the first one is made."""
    global _installed
    if _installed:
        return
    check_parts()
    _installed = True
    # All that viser's server uses of the package `websockets`.
    package = SimpleNamespace(exceptions=websockets.exceptions, server=SimpleNamespace(serve=_serve))
    _replace(_infra, "websockets", package)
    _replace(_infra, "_message_consumer", _consume)
    _replace(_infra.WebsockMessageHandler, "atomic", _atomic)
    _before(_infra.WebsockServer, "_background_worker", _work)
    _before(viser.ViserServer, "request_share_url", _share)
    _before(viser.GuiApi, "configure_theme", _theme)
    _before(viser.GuiApi, "_create_gui_input", _create)
    _before(viser.GuiApi, "_handle_gui_updates", _take_value)
    _before(viser.GuiApi, "_handle_file_transfer_start", _start_upload)
    _before(viser.GuiApi, "_handle_file_transfer_part", _take_part)
    # A button's icon is looked for in an archive of four thousand, for a tenth of a second.
    icon = cache(_icons.svg_from_icon)
    for module in (_gui_api, _gui_handles):
        _replace(module, "svg_from_icon", icon)
    for kind in (_gui_handles.GuiFolderHandle, _gui_handles.GuiModalHandle, _gui_handles.GuiTabHandle):
        _replace(kind, "__enter__", _enter)
        _replace(kind, "__exit__", _leave)
    _before(nerfstudio_viewer.Viewer, "__init__", _open)
    _before(nerfstudio_viewer, "populate_render_tab", _render_tab)
    _before(RenderStateMachine, "_calculate_image_res", _resolution)
    _before(RenderStateMachine, "check_interrupt", _interrupt)
    _before(RenderStateMachine, "_render_img", _render)
    _before(RenderStateMachine, "_send_output_to_viewer", _send)
    _before(ViewerLegacyState, "__init__", _refuse_legacy)


def check_parts() -> None:
    """Looks whether all that is used is there.

    Raises:
        InputError: it is not; names what is missing, and the versions that have it.
    """
    lost = [f"{getattr(owner, '__name__', owner)}.{name}" for owner, names in PARTS.items() for name in names
            if not hasattr(owner, name)]  # fmt: skip
    if lost:
        raise InputError(f"the viewer: the installed viser or nerfstudio has no {', '.join(lost)}; install "
                         "viser==0.2.7 and nerfstudio==1.1.5")  # fmt: skip


# ---- what is kept beside what viser keeps


@dataclass
class _Control:
    """What is kept of a control: viser itself forgets the ends of a slider."""

    asked: _messages.Message | None = None
    """By which the page was told to make it."""
    ends: tuple[float, float] | None = None
    """Other ends than it was made with."""
    set_by_page: bool = False
    """Whether programs in the page set it though it is disabled."""
    limits: Limits = Limits()
    """Of what a button for files takes."""


def _kept(handle: _GuiInputHandle) -> _Control:
    """Returns what is kept of a control, as long as that is there."""
    return vars(handle._impl).setdefault("_kept", _Control())


def _uploads(gui: viser.GuiApi) -> dict[str, dict[str, Any]]:
    """Returns a page's unfinished uploads by their names: viser's own records, into which `_start_upload` puts more."""
    return cast("dict[str, dict[str, Any]]", gui._current_file_upload_states)


# ---- what our panel needs


def run_javascript(client: viser.ClientHandle, source: str) -> None:
    """Runs a program in a browser's page. viser's plots are sent like this."""
    client.gui._websock_interface.queue_message(_messages.RunJavascriptMessage(source=source))


def set_ends(slider: viser.GuiInputHandle, low: float, high: float) -> None:
    """Gives a slider other ends, and a value within them. What pages send is held to them."""
    update = _messages.GuiUpdateMessage(slider._impl.id, {"min": low, "max": high})
    slider._impl.gui_api._websock_interface.queue_message(update)
    _kept(slider).ends = low, high
    inside = min(max(slider.value, low), high)
    if inside != slider.value:
        slider.value = inside


def name_in_page(handle: viser.GuiInputHandle) -> str:
    """Returns the name by which programs in the page know a control."""
    return handle._impl.id


def disable_for_people(handle: viser.GuiInputHandle) -> None:
    """Lets programs in the page go on setting a control that is disabled."""
    _kept(handle).set_by_page = True


def limit_uploads(button: GuiUploadButtonHandle, limits: Limits) -> None:
    """Bounds what a button takes."""
    _kept(button).limits = limits


def take_upload(button: GuiUploadButtonHandle) -> UploadedFile:
    """Returns the file that a button was given, which viser would keep."""
    file, button._impl.value = button.value, UploadedFile("", b"")
    return file


def hide_time(viewer: nerfstudio_viewer.Viewer) -> None:
    """Hides nerfstudio's slider for the time."""
    viewer.control_panel._time.set_hidden(True)


def show_pictures_before_all(viewer: nerfstudio_viewer.Viewer) -> None:
    """Lets nothing of the scene hide behind what is rendered."""
    viewer.control_panel._layer_depth.value = False


# ---- hooks


def _before(owner: object, name: str, ours: Callable) -> None:
    """Has calls of a function go to ours, which is given theirs as its first argument."""
    theirs = getattr(owner, name)
    _replace(owner, name, wraps(theirs)(lambda *arguments, **options: ours(theirs, *arguments, **options)))


def _replace(owner: object, name: str, ours: object) -> None:
    """Puts something of ours in the place of theirs."""
    setattr(owner, name, ours)


# ---- who is listened to


def _open(theirs: Callable, viewer, config: ViewerConfig, *arguments, **options) -> None:
    """Has the viewer listen to this machine unless the command line says otherwise; nerfstudio's listens to the whole
    network."""
    asked = any(word.partition("=")[0].replace("_", "-") in HOST_FLAGS for word in sys.argv)
    if config.websocket_host == EVERYBODY and not asked:
        config.websocket_host = THIS_MACHINE
    if is_this_machine(config.websocket_host):
        print(f"The viewer is open to this machine only. {HOST_FLAGS[0]} {EVERYBODY} opens it to the network: whoever "
              "then reaches its port steers it and sees all that it shows.")  # fmt: skip
    else:
        print(f"The viewer is open to the network ({config.websocket_host}): whoever reaches its port steers it and "
              "sees all that it shows.")  # fmt: skip
    theirs(viewer, config, *arguments, **options)


def _refuse_legacy(theirs: Callable, *arguments, **options) -> None:
    raise InputError("--vis viewer_legacy: lets every page that reaches it write files, and is not guarded; use --vis "
                     "viewer")  # fmt: skip


def _share(theirs: Callable, server: viser.ViserServer, *arguments, **options) -> str | None:
    """Notes that who started the program asks for a public address, under whatever name."""
    _shared.add(server._websock_server)
    return theirs(server, *arguments, **options)


def _theme(theirs: Callable, gui: viser.GuiApi, **options) -> None:
    theirs(gui, **{**options, "show_share_button": False})  # it would not be answered, see FROM_PAGES


# ---- requests


def _work(theirs: Callable, server: _infra.WebsockServer, *arguments) -> None:
    _serving.server = server
    theirs(server, *arguments)


def _serve(handler: Callable, host: str, port: int, process_request: Callable | None, **options):
    """Serves in place of `websockets.server.serve`: looks at requests before viser's file server and before
    handshakes."""
    server = _serving.server

    async def checked(path: str, headers):
        if headers.get("Upgrade") == "websocket":  # as viser tells them
            return None if _welcome(server, headers) else (http.HTTPStatus.FORBIDDEN, {}, b"403")
        root = server._http_server_root
        if root is None or process_request is None or not _within(root, path.partition("?")[0]):
            return http.HTTPStatus.NOT_FOUND, {}, b"404"
        return await process_request(path, headers)

    serve = websockets.server.serve  # pyright: ignore[reportAttributeAccessIssue]  the package finds it when asked
    return serve(handler, host, port, process_request=checked, **options)


def _welcome(server: _infra.WebsockServer, headers) -> bool:
    """Returns whether a page may connect; see `visitors.welcome`."""
    if server in _shared:
        return True
    try:
        return welcome(server._host, headers.get("Origin"), headers.get("Host", ""))
    except LookupError:  # twice the same header
        return False


def _within(root: Path, path: str) -> bool:
    """Returns whether a request names a file of the folder in the one way in which pages do: viser keeps each name's
    file."""
    name = path.removeprefix("/") or "index.html"
    try:
        file = (root / name).resolve()
        return file.is_file() and file.relative_to(root.resolve()) == Path(name)
    except (OSError, ValueError):  # too long, NUL, elsewhere
        return False


# ---- messages


async def _consume(websocket, handle: Callable, message_class: type) -> None:
    """Handles a page's messages, in place of viser's function, which ends without a goodbye, and leaves the page's
    renderer running, at the first message that it does not understand."""
    while True:
        message = _understood(await websocket.recv(), message_class)
        if message is None:
            continue
        if not isinstance(message, _messages.FileTransferStart):
            handle(message)
            continue
        taken = vars(message)["taken"] = threading.Event()
        handle(message)
        # Messages are handled by many threads: the file's parts must not be before it.
        await asyncio.to_thread(taken.wait, 1.0)


def _understood(raw: bytes | str, message_class: type) -> _messages.Message | None:
    try:
        message = message_class.deserialize(raw)
    except Exception:  # anything can be sent, and anything can go wrong in it
        return None
    if not isinstance(message, FROM_PAGES) or not _finite(tuple(vars(message).values())):
        return None
    if isinstance(message, _messages.TransformControlsUpdateMessage):
        return message if _vector(message.wxyz, 4) and _vector(message.position, 3) else None
    if isinstance(message, _messages.ViewerCameraMessage):
        return message if _see(message) else None
    return message


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _vector(value: object, length: int) -> bool:
    if not isinstance(value, tuple) or len(value) != length or not all(isinstance(x, float) for x in value):
        return False
    return max(map(abs, value)) <= FARTHEST and (length == 3 or abs(math.hypot(*value) - 1) < 0.01)


def _see(camera: _messages.ViewerCameraMessage) -> bool:
    """Returns whether it is a camera; its window is brought to a shape that pictures can have."""
    vectors = camera.position, camera.look_at, camera.up_direction
    if not (_vector(camera.wxyz, 4) and all(_vector(v, 3) for v in vectors)):
        return False
    camera.aspect = min(max(camera.aspect, ASPECT[0]), ASPECT[1])
    camera.fov = min(max(camera.fov, FOV[0]), FOV[1])
    return math.hypot(*camera.up_direction) > 1e-6 and math.dist(camera.look_at, camera.position) > 1e-6


@contextmanager
def _atomic(messages: _infra.WebsockMessageHandler) -> Iterator[None]:
    """Holds the lock as viser's own does, which keeps it when an error leaves the block: then nobody is sent anything
    any more."""
    me = threading.get_ident()
    inner = messages._locked_thread_id == me
    if not inner:
        messages._atomic_lock.acquire()
        messages._locked_thread_id = me
    try:
        yield
    finally:
        if not inner:
            messages._locked_thread_id = -1
            messages._atomic_lock.release()


def _client(gui: viser.GuiApi, client_id: int) -> viser.ClientHandle | None:
    """Returns who has sent a message; None: it has no camera yet, or is gone."""
    owner = gui._owner
    return owner if isinstance(owner, viser.ClientHandle) else owner.get_clients().get(client_id)


def _arrived(gui: viser.GuiApi, client_id: int) -> viser.ClientHandle | None:
    """Returns who has sent a message, also where viser, whose threads take messages in any order, has not yet seen the
    camera that was sent before it; None: there is none for a while, or the page is gone."""
    end = time.monotonic() + ARRIVING
    while (client := _client(gui, client_id)) is None and time.monotonic() < end:
        time.sleep(0.01)
    return client


@contextmanager
def _answering(client: viser.ClientHandle) -> Iterator[None]:
    """Says in the page what is wrong with what it has sent."""
    try:
        yield
    except InputError as error:
        client.add_notification(REFUSED, str(error), color="red", auto_close=20_000)


# ---- values of controls


def _create(theirs: Callable, gui: viser.GuiApi, value: Any, message: _messages.Message, is_button: bool = False):
    handle = theirs(gui, value, message, is_button)
    _kept(handle).asked = message
    return handle


def _take_value(theirs: Callable, gui: viser.GuiApi, client_id: int, message: _messages.GuiUpdateMessage) -> None:
    """Takes the value that a page has set a control to; viser takes what is sent, for any attribute of it."""
    handle = gui._gui_input_handle_from_id.get(message.id)
    if handle is None or set(message.updates) != {"value"}:
        return
    client = _arrived(gui, client_id)
    if client is None:
        return
    with _answering(client):
        value = allowed(handle, message.updates["value"])
        if value is not None:
            theirs(gui, client_id, _messages.GuiUpdateMessage(message.id, {"value": value}))


def allowed(handle: _GuiInputHandle, value: object) -> Any:
    """Returns what a page's value for a control becomes: within the control's own ends; None where it is nothing for
    it.

    Raises:
        InputError: it is a text that the page is to be told about.
    """
    state, kept = handle._impl, _kept(handle)
    asked = kept.asked
    if state.disabled and not kept.set_by_page:
        return None
    low, high = kept.ends or (getattr(asked, "min", None), getattr(asked, "max", None))
    if isinstance(asked, _messages.GuiAddButtonMessage):
        return True
    if isinstance(asked, _messages.GuiAddCheckboxMessage):
        return value if isinstance(value, bool) else None
    if isinstance(asked, (_messages.GuiAddDropdownMessage, _messages.GuiAddButtonGroupMessage)):
        return value if isinstance(value, str) and value in getattr(handle, "options", asked.options) else None
    if isinstance(asked, _messages.GuiAddTextMessage):
        if not isinstance(value, str):
            return None
        if len(value) > LONGEST_TEXT:
            raise InputError(f"{state.label}: {len(value)} characters are too many; at most {LONGEST_TEXT}")
        return value
    if isinstance(asked, (_messages.GuiAddRgbMessage, _messages.GuiAddRgbaMessage)):
        low, high = 0, 255
    if isinstance(asked, (_messages.GuiAddSliderMessage, _messages.GuiAddNumberMessage)):
        return _clamped(value, low, high)
    if not isinstance(state.value, tuple) or not isinstance(value, tuple) or len(value) != len(state.value):
        return None  # also what is no control for values, such as a button for files
    each = lambda ends: ends if isinstance(ends, (tuple, list)) else (ends,) * len(value)  # noqa: E731
    values = tuple(_clamped(*item) for item in zip(value, each(low), each(high), strict=True))
    return None if None in values else values


def _clamped(value: object, low: float | None, high: float | None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return min(max(value, -LARGEST_NUMBER if low is None else low), LARGEST_NUMBER if high is None else high)


# ---- folders


def _enter(container: Any) -> Any:
    """Has this thread make its controls in a folder from here on.

    viser keeps in the folder itself where they were made before. Two threads that were in one of nerfstudio's at once
    left it so that one made all its later ones there, and browsers that it served got no panel of their own.
    """
    gui = _gui_of(container)
    vars(_containers).setdefault("left", []).append(gui._get_container_id())
    gui._set_container_id(container._id)
    return container


def _leave(container: Any, *error: object) -> None:
    _gui_of(container)._set_container_id(_containers.left.pop())


def _gui_of(container: Any) -> viser.GuiApi:
    return getattr(container, "_parent", container)._gui_api  # tabs have that of their group


# ---- uploads


def _start_upload(theirs: Callable, gui: viser.GuiApi, client_id: int, message: _messages.FileTransferStart) -> None:
    """Takes the announcement of a file. Each browser has buttons of its own for files, and each button one unfinished
    file."""
    button, client = gui._gui_input_handle_from_id.get(message.source_component_id or ""), _client(gui, client_id)
    if client is None or not isinstance(button, GuiUploadButtonHandle) or button.disabled:
        return
    limits = _kept(button).limits
    _forget(gui, lambda upload: upload["source"] == message.source_component_id)
    with _answering(client):
        try:
            limits.check_size(message.filename, message.size_bytes)
            if not 0 < message.part_count <= message.size_bytes:
                raise InputError(f"{shown(message.filename)}: does not arrive in parts that can be put together")
            if message.transfer_uuid in _uploads(gui):
                return
            theirs(gui, client_id, message)
            upload = _uploads(gui)[message.transfer_uuid]
            timer = threading.Timer(limits.seconds, _give_up, [gui, client, message])
            timer.daemon = True
            upload.update(source=message.source_component_id, arrived=set(), arrived_bytes=0, timer=timer)
            timer.start()
        except InputError:
            _end_upload(gui, message, message.size_bytes)
            raise
        finally:
            vars(message)["taken"].set()


def _give_up(gui: viser.GuiApi, client: viser.ClientHandle, message: _messages.FileTransferStart) -> None:
    with _answering(client):
        _uploads(gui).pop(message.transfer_uuid, None)
        _end_upload(gui, message, message.size_bytes)
        raise InputError(f"{shown(message.filename)}: did not arrive in time; send it again")


def _take_part(theirs: Callable, gui: viser.GuiApi, client_id: int, message: _messages.FileTransferPart) -> None:
    """Takes a part of an announced file: each once, and not more of them than was announced."""
    upload, client = _uploads(gui).get(message.transfer_uuid), _client(gui, client_id)
    if upload is None or client is None:
        return
    with _answering(client):
        with upload["lock"]:
            size = len(message.content) if isinstance(message.content, bytes) else math.inf
            good = (
                message.source_component_id == upload["source"]
                and 0 <= message.part < upload["part_count"]
                and message.part not in upload["arrived"]
                and upload["arrived_bytes"] + size <= upload["total_bytes"]
            )
            if good:
                upload["arrived"].add(message.part)
                upload["arrived_bytes"] += size
                # What viser takes for the last part must be that.
                done = len(upload["arrived"]) == upload["part_count"]
                good = done == (upload["arrived_bytes"] == upload["total_bytes"])
        if not good:
            _forget(gui, lambda other: other is upload)
            _end_upload(gui, message, upload["total_bytes"])
            raise InputError(f"{shown(upload['filename'])}: did not arrive as it was announced; send it again")
        if done:
            upload["timer"].cancel()
        theirs(gui, client_id, message)


def _forget(gui: viser.GuiApi, which: Callable[[dict], bool]) -> None:
    """Lets unfinished uploads go."""
    for key, upload in list(_uploads(gui).items()):
        if which(upload):
            _uploads(gui).pop(key, None)
            upload["timer"].cancel()


def forget_uploads(client: viser.ClientHandle) -> None:
    """Lets the unfinished uploads of a browser go that has gone."""
    _forget(client.gui, lambda upload: True)


def _end_upload(
    gui: viser.GuiApi, message: _messages.FileTransferStart | _messages.FileTransferPart, size: int
) -> None:
    """Has the page stop waiting for the rest."""
    size = max(size, 1)  # a page that has sent nothing of nothing waits
    done = _messages.FileTransferPartAck(message.source_component_id, message.transfer_uuid, size, size)
    gui._websock_interface.queue_message(done)


# ---- pictures


def _resolution(theirs: Callable, machine: RenderStateMachine, aspect: float) -> tuple[int, int]:
    height, width = theirs(machine, aspect)
    return max(1, height), max(1, width)


def _interrupt(theirs: Callable, machine: RenderStateMachine, frame, event: str, arg: object) -> None:
    """Lets a picture be broken off where functions of ours begin only.

    nerfstudio breaks it off at any line of Python, also where a `with` is left, before anything is: then this thread
    stays in bfloat16 or a lock stays held, and no later picture succeeds. Generators "begin" wherever they go on.
    """
    ours = frame.f_globals.get("__name__", "").startswith(PACKAGE) and not frame.f_code.co_name.startswith("__")
    if event == "call" and ours and not frame.f_code.co_flags & inspect.CO_GENERATOR:
        theirs(machine, frame, "line", arg)  # the event at which it looks


def _render(theirs: Callable, machine: RenderStateMachine, camera):
    """Has an error end one picture, not the thread that makes a browser's pictures."""
    try:
        return theirs(machine, camera)
    except IOChangeException:
        raise
    except Exception as error:
        traceback.print_exc()
        raise IOChangeException from error  # as if something had changed meanwhile


def _send(theirs: Callable, machine: RenderStateMachine, *arguments, **options) -> None:
    try:
        theirs(machine, *arguments, **options)
    except Exception:
        traceback.print_exc()


# ---- files that nerfstudio writes


def _render_tab(theirs: Callable, server: viser.ViserServer, config_path: Path, datapath: Path, *more):
    """Checks the name under which nerfstudio writes a camera path, because a page gives it."""
    state = theirs(server, config_path, datapath, *more)
    controls = {handle._impl.label: handle for handle in server.gui._gui_input_handle_from_id.values()}
    name = controls["Render name"]

    def check(event: viser.GuiEvent) -> None:
        given = name.value
        if not given.strip() or len(given) > LONGEST_NAME or given.startswith(".") or not given.isprintable() or (
            set(given) & set('/\\:*?"<>|`$;&\'')
        ):  # fmt: skip
            raise InputError(f"Render name: {shown(given)!r} is no name for a file; give one of letters and digits, "
                             "without slashes")  # fmt: skip
        inside(datapath / "camera_paths" / f"{given}.json", datapath)

    controls["Generate Command"]._impl.update_cb.insert(0, check)  # an error ends the row of callbacks
    return state
