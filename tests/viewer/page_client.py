"""A page of the viewer without a browser: what viser's JavaScript sends and hears, and whatever an attacker would."""

from __future__ import annotations

import math
import uuid

import msgspec

from tests.socket_client import PATIENCE, SocketClient

PART = 512 * 1024
"""Bytes of an upload in one message."""


class Page(SocketClient):
    """Says where its camera is, and keeps what it is sent."""

    def __init__(self, port: int, **options) -> None:
        self.controls: dict[str, dict] = {}
        """By id: label, value, options, min, max ..., as a page would show them now."""
        self.pictures: list[bytes] = []
        self.notes: list[str] = []
        self.scripts: list[str] = []
        self.seen: list[str] = []
        """The types of all messages."""
        super().__init__(port, **options)
        self.look()

    def hear(self, message: str | bytes) -> None:
        for part in msgspec.msgpack.decode(message):
            self._take(part)

    def told_lately(self) -> object:
        return self.notes

    def _take(self, message: dict) -> None:
        kind = message["type"]
        self.seen.append(kind)
        if kind.startswith("GuiAdd"):
            self.controls[message["id"]] = message
        elif kind == "GuiUpdateMessage":
            self.controls.setdefault(message["id"], {}).update(message["updates"])
        elif kind == "GuiRemoveMessage":
            self.controls.pop(message["id"], None)
        elif kind == "BackgroundImageMessage":
            self.pictures.append(message["rgb_bytes"])
        elif kind == "NotificationMessage":
            self.notes.append(f"{message['title']}: {message['body']}")
        elif kind == "RunJavascriptMessage":
            self.scripts.append(message["source"])

    # ---- what it sends

    def send(self, kind: str, **fields) -> None:
        self.raw({"type": kind, **fields})

    def raw(self, message: object) -> None:
        self.socket.send(message if isinstance(message, (bytes, str)) else msgspec.msgpack.encode(message))

    def look(self, **camera) -> None:
        usual = {
            "wxyz": [1.0, 0.0, 0.0, 0.0], "position": [0.0, 0.0, 8.0], "fov": 0.6, "aspect": 1.4,
            "look_at": [0.0, 0.0, 0.0], "up_direction": [0.0, 1.0, 0.0],
        }  # fmt: skip
        self.send("ViewerCameraMessage", **{**usual, **camera})

    def id(self, name: str) -> str:
        """Of a control, as soon as there is one, by its label or by "folder > label"; of several the first."""
        folder, _, label = name.rpartition(" > ")

        def found():
            controls = list(self.controls.items())
            folders = [key for key, control in controls if control.get("label") == folder]
            return [
                key for key, control in controls
                if control.get("label") == label and "value" in control
                and (not folder or control["container_id"] in folders)
            ]  # fmt: skip

        return self.wait(found)[0]

    def value(self, label: str):
        return self.controls[self.id(label)]["value"]

    def set(self, label: str, value: object) -> None:
        self.send("GuiUpdateMessage", id=self.id(label), updates={"value": value})

    def press(self, label: str) -> None:
        self.set(label, True)

    def upload(self, label: str, name: str, content: bytes, size: int | None = None, parts: int | None = None) -> None:
        """Sends a file, as soon as it may; size, parts: what is announced, where that is not what is sent."""
        button, transfer = self.id(label), str(uuid.uuid4())
        self.wait(lambda: not self.controls[button]["disabled"])
        pieces = [content[i : i + PART] for i in range(0, len(content), PART)]
        self.send(
            "FileTransferStart", source_component_id=button, transfer_uuid=transfer, filename=name, mime_type="",
            part_count=len(pieces) if parts is None else parts, size_bytes=len(content) if size is None else size,
        )  # fmt: skip
        for number, piece in enumerate(pieces):
            self.send(
                "FileTransferPart", source_component_id=button, transfer_uuid=transfer, part=number, content=piece
            )

    # ---- what it is shown

    def told(self, text: str, seconds: float = PATIENCE) -> str:
        """Waits for a notification that holds a text."""
        return self.wait(lambda: next((note for note in self.notes if text in note), None), seconds)

    def another_picture(self, seconds: float = PATIENCE) -> bytes:
        """Turns the camera a little, and waits for what it then sees."""
        count = len(self.pictures)
        angle = 1e-3 * math.sin(count)
        self.look(wxyz=[math.cos(angle), 0.0, math.sin(angle), 0.0])
        self.wait(lambda: len(self.pictures) > count, seconds)
        return self.pictures[-1]
