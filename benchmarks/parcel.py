"""A dataset as a parcel for a machine without internet: pictures as videos that OpenCV decodes, the rest in a zip.

Packing takes PyAV, unpacking only OpenCV. Frames lose a little (H.264, 4:4:4), parsings, the torso's alpha and all
numbers nothing; sound is left out, of which training needs the features only.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

LARGEST = 64 << 20
"""Bytes."""
QUALITY = 18
"""Of x264, a constant rate factor."""
LEAST_PSNR = 34.0
"""Of a packed frame, dB: less means that the decoder takes other colours."""
LEFT_OUT = ("images", "torso", "parsing", "audio", "inspect", "report.json", ".frames")


def pack(root: Path, folder: Path) -> int:
    """Writes a dataset folder as a parcel into a new folder, and returns its bytes.

    Raises:
        SystemExit: it is too large, or does not decode to what it was.
    """
    from aed_nerfstudio.dataset.schema import read_dataset

    dataset = read_dataset(root)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "rest.zip", "w", zipfile.ZIP_DEFLATED) as rest:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.relative_to(root).parts[0] not in LEFT_OUT:
                rest.write(path, path.relative_to(root))
        for clip in dataset.clips:
            frames = [frame for frame in dataset.frames if frame.clip == clip.name and frame.usable]
            shown = np.array([frame.index for frame in frames])
            rest.writestr(f"frames/{clip.name}.txt", " ".join(map(str, shown)))
            _write_video(folder / f"{clip.name}.mp4", [(dataset.image(f), dataset.torso(f)) for f in frames])
            for frame in frames:
                rest.write(dataset.path("parsing", frame), f"parsing/{frame.stem}.png")
                rest.writestr(
                    f"alpha/{frame.stem}.png", cv2.imencode(".png", dataset.torso(frame)[..., 3])[1].tobytes()
                )
            decoded = next(_pictures(folder / f"{clip.name}.mp4"))[0]
            error = np.square(decoded.astype(float) - dataset.image(frames[0])).mean()
            if 10 * np.log10(255**2 / max(error, 1e-9)) < LEAST_PSNR:
                raise SystemExit(f"{clip.name}: its video does not decode to what was recorded")
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST:
        raise SystemExit(f"{folder}: {size >> 20} MiB, and {LARGEST >> 20} may be sent; give a dataset of fewer frames")
    return size


def _write_video(path: Path, pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes frames [H, W, 3], each beside its torso [H, W, 4] over black."""
    import av

    height, width = pictures[0][0].shape[:2]
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=25, options={"crf": str(QUALITY), "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = 2 * width, height, "yuv444p"
        for image, torso in pictures:
            both = np.hstack([image, np.where(torso[..., 3:] > 0, torso[..., :3], 0)])
            video.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(both), format="rgb24")))
        video.mux(stream.encode())


def _pictures(path: Path):
    """Yields the frames and the torsos' colours of a video, [H, W, 3] each."""
    video = cv2.VideoCapture(str(path))
    while True:
        there, both = video.read()
        if not there:
            video.release()
            return
        yield np.hsplit(cv2.cvtColor(both, cv2.COLOR_BGR2RGB), 2)


def unpack(folder: Path, root: Path) -> Path:
    """Makes a dataset folder of a parcel, unless it is there, and returns it."""
    if (root / "dataset.json").exists():
        return root
    part = root.with_name(f"{root.name}.part")
    with zipfile.ZipFile(folder / "rest.zip") as rest:
        rest.extractall(part)
    for names in sorted((part / "frames").glob("*.txt")):
        clip, numbers = names.stem, names.read_text().split()
        for kind in ("images", "torso"):
            (part / kind / clip).mkdir(parents=True)
        for number, (image, colour) in zip(numbers, _pictures(folder / f"{clip}.mp4"), strict=True):
            stem = f"{clip}/{int(number):05d}"
            alpha = cv2.imread(str(part / "alpha" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
            cv2.imwrite(str(part / "images" / f"{stem}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
            cv2.imwrite(str(part / "torso" / f"{stem}.png"), np.dstack([colour[..., ::-1], alpha]))
    part.rename(root)
    return root
