"""How the frames of a stream are shown: upright, in square pixels, as SDR RGB of one size, and not interlaced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import av.filter
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation
from jaxtyping import UInt8

from aed_nerfstudio.errors import InputError

MOST_PIXELS = 1 << 26
"""The largest frame, as stored and as shown: twice those of 8K."""
WIDEST = 4
"""The largest width over height of a pixel; those of real formats are below 2.2."""
LARGE = 576
"""Lines: pictures with more are in BT.709 where they do not say it, those with fewer in BT.601, as players take it."""
UNSPECIFIED = 2
"""FFmpeg's number of a colour space that is not told."""
HDR = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
USUAL_PRIMARIES = {
    0,
    ColorPrimaries.BT709,
    ColorPrimaries.UNSPECIFIED,
    ColorPrimaries.BT470M,
    ColorPrimaries.BT470BG,
    ColorPrimaries.SMPTE170M,
    ColorPrimaries.SMPTE240M,
}
"""So near to those of BT.709 that players show them as they are."""


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay down a picture: rows and columns are exchanged, then columns and rows reversed."""

    exchanged: bool = False
    columns: bool = False
    rows: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Turn:
        """Returns what a frame's display matrix asks for; other angles go to the nearest quarter turn."""
        beside = cast(SideDataContainer, frame.side_data)  # which PyAV's types call a dict
        if Type.DISPLAYMATRIX not in beside:
            return cls()
        data = beside[Type.DISPLAYMATRIX]
        if data.buffer_size < 36:
            return cls()
        # A pixel (x, y) is shown at (a x + c y, b x + d y) and some offset; y points down.
        a, b, _, c, d = np.frombuffer(bytes(data), "=i4", 5).astype(np.int64)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, bool(a < 0), bool(d < 0))
        return cls(True, bool(c < 0), bool(b < 0))

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Returns width and height of what a picture of that size becomes."""
        return (height, width) if self.exchanged else (width, height)

    def of_picture(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "shown_h shown_w 3"]:
        """Turns a picture, uint8 [H, W, 3] -> [H, W, 3] or [W, H, 3]."""
        if self == Turn():
            return np.ascontiguousarray(picture)
        import cv2  # a third of NumPy's time

        picture = cv2.transpose(picture) if self.exchanged else picture
        if self.columns or self.rows:
            picture = cv2.flip(picture, -1 if self.columns and self.rows else int(self.columns))
        return picture

    @property
    def rotation(self) -> int | None:
        """Returns degrees anti-clockwise, 0, 90, 180 or 270; None: it mirrors."""
        turns = {(False, False, False): 0, (True, False, True): 90, (False, True, True): 180, (True, True, False): 270}
        return turns.get((self.exchanged, self.columns, self.rows))


class Appearance:
    """How the frames of one stream become pictures, all of one size."""

    def __init__(self, path: Path, stream: av.VideoStream, first: av.VideoFrame) -> None:
        """Takes size and turn of all frames from the stream's first one.

        Raises InputError when the frame or its pixels have no usable shape.
        """
        self.path, self.stored, self.turn = path, (first.width, first.height), Turn.of(first)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, WIDEST) <= aspect <= WIDEST:
            raise InputError(f"{path}: its pixels are {aspect} as wide as high; set the true ratio with `ffmpeg -i IN "
                             "-c copy -aspect 16:9 OUT`")  # fmt: skip
        # Never fewer pixels than are stored.
        width, height = first.width * max(aspect, 1), first.height / min(aspect, 1)
        check_size(path, round(width), round(height))
        self.size = self.turn.size(round(width), round(height))
        """Width and height, pixels, as shown."""
        self._graphs: dict[tuple, av.filter.Graph] = {}

    def notes(self, first: av.VideoFrame) -> list[str]:
        """Returns what should be said of how the stream is shown; first: its first frame."""
        notes = []
        if first.color_trc in HDR:
            notes.append(f"{self.path.name}: is HDR ({HDR[ColorTrc(first.color_trc)]}), and is tone-mapped to SDR")
        if first.interlaced_frame:
            notes.append(f"{self.path.name}: is interlaced, and is deinterlaced; film progressively for sharp lips")
        if _transparent(first) and (first.reformat(format="rgba").to_ndarray()[..., 3] < 255).any():
            notes.append(f"{self.path.name}: is transparent, and is laid over black")
        return notes

    def picture(self, frame: av.VideoFrame, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """Converts a frame to how it is shown, uint8 [H, W, 3] RGB; size: its width and height.

        Raises InputError when the frame is of another size than the first, or its colours cannot be converted.
        """
        if (frame.width, frame.height) != self.stored:
            old, new = f"{self.stored[0]}x{self.stored[1]}", f"{frame.width}x{frame.height}"
            raise InputError(f"{self.path}: its pictures change from {old} to {new} pixels; cut it there, or export it "
                             "again in one size")  # fmt: skip
        width, height = self.turn.size(*size)
        if frame.color_trc in HDR or frame.color_primaries not in USUAL_PRIMARIES:
            frame = self._to_sdr(frame, width, height)
        if frame.colorspace == UNSPECIFIED and frame.height > LARGE:
            frame.colorspace = Colorspace.ITU709
        shrinks = width <= frame.width and height <= frame.height
        form = "rgba" if _transparent(frame) else "rgb24"
        how = Interpolation.BILINEAR if shrinks else Interpolation.BICUBIC
        picture = frame.reformat(width, height, form, interpolation=how).to_ndarray()
        if form == "rgba":
            picture = (picture[..., :3] * (picture[..., 3:] / np.float32(255))).round().astype(np.uint8)
        return self.turn.of_picture(picture)

    def _to_sdr(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        """Converts a frame of another gamut or range to BT.709 and that size."""
        key = (frame.format.name, frame.color_trc, frame.color_primaries, width, height)
        try:
            if key not in self._graphs:
                self._graphs[key] = _colour_graph(frame, width, height)
            self._graphs[key].push(frame)
            return _next_picture(self._graphs[key])
        except av.error.FFmpegError as error:
            kind = HDR.get(ColorTrc(frame.color_trc), "wide-gamut")
            raise InputError(f"{self.path}: its {kind} colours cannot be converted ({error}); make an SDR copy: "
                             "`ffmpeg -i IN -vf zscale=t=linear:npl=100,tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:"
                             "r=tv,format=yuv420p OUT.mp4`") from error  # fmt: skip


def check_size(path: Path, width: int, height: int) -> None:
    """Raises InputError when pictures of that size are too large to be held."""
    if width * height > MOST_PIXELS:
        raise InputError(f"{path}: its pictures of {width}x{height} pixels are too large; scale it down, to 4K at most")


def _transparent(frame: av.VideoFrame) -> bool:
    """Returns whether a frame has an alpha channel."""
    return any(component.is_alpha for component in frame.format.components)


def _colour_graph(frame: av.VideoFrame, width: int, height: int) -> av.filter.Graph:
    """Builds swscale's own tone and gamut mapping; small pictures first, because it costs more than scaling."""
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)),
        graph.add("scale", f"{width}:{height}:flags=bilinear"),
        graph.add("scale", "out_transfer=bt709:out_primaries=bt709:out_range=full:intent=perceptual"),
        graph.add("format", "pix_fmts=rgba" if _transparent(frame) else "pix_fmts=rgb24"),
        graph.add("buffersink"),
    ).configure()
    return graph


def deinterlaced(frames: Iterator[av.VideoFrame], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yields the frames, those that are interlaced made whole: as many, with the same times."""
    graph = None
    for frame in frames:
        if graph is None and frame.interlaced_frame:
            graph = av.filter.Graph()
            graph.link_nodes(
                graph.add_buffer(template=stream),
                graph.add("bwdif", "mode=send_frame:deint=interlaced"),
                graph.add("buffersink"),
            ).configure()
        if graph is None:
            yield frame
            continue
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _next_picture(graph: av.filter.Graph) -> av.VideoFrame:
    """Takes the next frame out of a graph of pictures."""
    return cast(av.VideoFrame, graph.pull())


def _pulled(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    """Yields the frames that a graph has ready."""
    while True:
        try:
            yield _next_picture(graph)
        except (av.error.BlockingIOError, av.error.EOFError):
            return
