"""The README's moving picture, from the demo's video: `python docs/moving_picture.py demo/demo.mp4 docs/demo.webp`.

The first half of that video, in which all emotions speak side by side; every second frame, at most 3 MB.
"""

import sys

import av

FRAMES_PER_SECOND = 12.5


def main(video: str, picture: str) -> None:
    with av.open(video) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    first, *others = frames[: len(frames) // 2 : 2]
    duration = round(1000 / FRAMES_PER_SECOND)  # milliseconds
    first.save(picture, save_all=True, append_images=others, duration=duration, loop=0, quality=85, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
