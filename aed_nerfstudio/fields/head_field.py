"""Head field, paper eq. 1: (x_g, d, a_g, e, eye) -> (density, colour)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend, has_bfloat16, interpreted, resolve
from aed_nerfstudio.fields.expression_grid import ExpressionGrid
from aed_nerfstudio.fields.hash_grid import HashGrid, HashGridLayout, rows_of_parts
from aed_nerfstudio.fields.lip_warp import LipWarp
from aed_nerfstudio.fields.mlp import MLP, truncated_exp


def spherical_harmonics(d: Tensor) -> Tensor:
    """Returns the real spherical harmonics up to degree 3 of unit directions d [N,3], [N,16] (Sloan, Efficient SH
    Evaluation)."""
    x, y, z = d.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479),
            -0.48860251 * y,
            0.48860251 * z,
            -0.48860251 * x,
            1.09254843 * x * y,
            -1.09254843 * y * z,
            0.31539157 * (3 * zz - 1),
            -1.09254843 * x * z,
            0.54627421 * (xx - yy),
            -0.59004359 * y * (3 * xx - yy),
            2.89061144 * x * y * z,
            0.45704579 * y * (1 - 5 * zz),
            0.37317633 * z * (5 * zz - 3),
            0.45704579 * x * (1 - 5 * zz),
            1.44530572 * z * (xx - yy),
            -0.59004359 * x * (xx - 3 * yy),
        ],
        -1,
    )


SHADED = 10
"""Features of the spatial grid's coarsest levels (cells of a centimetre and more) that a smooth shading sees."""


class EncodedCondition(NamedTuple):
    """What drives C frames, as the head field takes it; sizes of 0 where the field has no such input."""

    audio: Tensor
    """[C, 64]: a_h."""
    emotion: Tensor
    """[C, E]."""
    eye: Tensor
    """[C, 1]: openness."""
    articulation: Tensor
    """[C, A]: the lip shape."""
    code: Tensor
    """[C, K]: of the appearance."""

    @property
    def expression(self) -> Tensor:
        """Returns emotion, eye openness and lip shape side by side, [C, E + 1 + A]."""
        return torch.cat([self.emotion, self.eye, self.articulation], -1)


class HeadField(nn.Module):
    """Audio-spatial decomposed field.

    Args:
        audio_dim: size of a_h.
        emotion_dim: size of e; 0 switches the emotion off (the paper's ablation).
        eye_dim: 1, or 0 without eye openness.
        articulation_dim: size of the supervised lip shape that also enters the density network; 0 as in the paper.
        appearance_dim: size of a frame's code, which enters the colour network.
        audio_compression: False feeds a_h to the density network instead of a_g (the ablation "direct concatenation").
        log2_size: entries per grid level.
        top_resolution: of all grids.
        expression_grid: whether a 3-D grid blended by emotion, eyes and lip shape joins the spatial one (the paper has
            none).
        smooth_shading: whether the direction only brightens and tints colours, by a smooth function of the place that
            no expression enters, instead of entering the colour network (the paper's way).
        lip_warp: whether the lip shape moves the points that are looked up (the paper has no such thing).
        bfloat16: networks in bfloat16, on devices that multiply in it (`has_bfloat16`).
        backend: of all grids.
    """

    def __init__(
        self,
        audio_dim: int = 64,
        emotion_dim: int = 8,
        eye_dim: int = 1,
        articulation_dim: int = 0,
        appearance_dim: int = 0,
        audio_compression: bool = True,
        log2_size: int = 16,
        top_resolution: int = 2048,
        hidden: int = 64,
        bfloat16: bool = False,
        expression_grid: bool = False,
        smooth_shading: bool = False,
        lip_warp: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.grid = HashGrid(HashGridLayout(3, log2_size=log2_size, top_resolution=top_resolution), backend)
        self.audio_compression = audio_compression
        if audio_compression:
            self.audio_grid = HashGrid(HashGridLayout(2, log2_size=log2_size, top_resolution=top_resolution), backend)
            self.compress = MLP(32 + audio_dim + articulation_dim, hidden, 2, 3)
            with torch.no_grad():  # a saturated tanh has no gradient: start near zero
                self.compress.layers[-1].weight.mul_(0.5)
        expression_dim = emotion_dim + eye_dim + articulation_dim
        self.expression_grid = None
        if expression_grid:
            # Expressions move features by little over wide areas: coarse levels suffice, and 13 fine tables would not.
            layout = HashGridLayout(3, n_levels=8, log2_size=min(log2_size, 15), top_resolution=128)
            self.expression_grid = ExpressionGrid(layout, expression_dim, backend)
        moved = self.expression_grid.n_outputs if self.expression_grid is not None else 0
        heard = 32 if audio_compression else audio_dim
        self.density = MLP(32 + heard + moved + expression_dim, hidden, 1 + hidden, 3)
        self.shading = MLP(16 + SHADED, hidden // 2, 3, 2) if smooth_shading else None
        self.warp = LipWarp(articulation_dim) if lip_warp and articulation_dim else None
        self.colour = MLP((0 if smooth_shading else 16) + hidden + appearance_dim, hidden, 3, 2)
        self.bfloat16 = bfloat16  # pyright: ignore[reportAttributeAccessIssue]  hides a method that is never called

    def in_bfloat16(self, device: torch.device) -> bool:
        """Returns whether the networks run in bfloat16 on a device."""
        return self.bfloat16 and has_bfloat16(device.type)

    def _precision(self, device: torch.device) -> AbstractContextManager:
        # Without bfloat16 the trainer's own autocast holds (`--mixed-precision True`).
        return torch.autocast(device.type, torch.bfloat16) if self.in_bfloat16(device) else nullcontext()

    def moved(self, positions: Tensor, articulation: Tensor, counts: list[int]) -> tuple[Tensor, Tensor | None]:
        """Returns where positions [N,3] are looked up under the lip shapes [C,A] of C frames, and which of them may
        have moved, [M] in order (None: all of them, or none where nothing moves points).

        A GPU moves all: to tell it how many there are would make it wait.
        """
        if self.warp is None or positions.is_cuda:
            return (positions if self.warp is None else self.warp(positions, articulation, counts)), None
        rows = self.warp.reached(positions)
        if not len(rows):
            return positions, rows
        own = [len(part) for part in rows_of_parts(rows, counts)]
        return positions.index_copy(0, rows, self.warp(positions[rows], articulation, own)), rows

    def spatial_features(self, positions: Tensor, rows: Tensor | None = None) -> Tensor:
        """Returns x_g [N,32] of positions [N,3] in [-1,1]: what audio, emotion and eyes do not change.

        rows [M]: of the positions that pass a gradient on (None: all).
        """
        return self.grid((positions + 1) / 2, rows)

    def heard_features(
        self, x_g: Tensor, audio: Tensor, articulation: Tensor, counts: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what emotion and eyes do not change: a_g [N,32] of samples with x_g [N,32], a_l [N,2], its value
        before tanh.

        Without audio compression a_g is [N,0], and the others are zero.
        """
        if not self.audio_compression:
            logits = x_g.new_zeros(len(x_g), 2)
            return x_g[:, :0], logits, logits
        with self._precision(x_g.device):
            logits = self.compress.conditioned([x_g], torch.cat([audio, articulation], -1), counts).float()
        ambient = torch.tanh(logits)
        return self.audio_grid((ambient + 1) / 2), ambient, logits

    def blend(self, encoded: EncodedCondition) -> Tensor | None:
        """Returns the expression grid's tables for C conditions, [C, ...]; None without such a grid."""
        return None if self.expression_grid is None else self.expression_grid.blend(encoded.expression)

    def geometry(
        self,
        positions: Tensor,
        x_g: Tensor,
        a_g: Tensor,
        encoded: EncodedCondition,
        counts: list[int],
        tables: Tensor | None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Returns the density's logarithm and what the colour needs of the density network, [N,65].

        x_g, a_g: `spatial_features` and `heard_features` of the positions. encoded: of C frames, as `forward` takes it.
        tables: `blend` of it. rows: as `spatial_features` takes them.
        """
        features = [x_g, a_g]
        condition = encoded.expression
        if not self.audio_compression:
            condition = torch.cat([encoded.audio, condition], -1)
        if self.expression_grid is not None:
            features.append(self.expression_grid((positions + 1) / 2, tables, counts, rows))
        with self._precision(positions.device):
            return self.density.conditioned(features, condition, counts)

    def density_at(self, positions: Tensor, encoded: EncodedCondition) -> Tensor:
        """Returns the densities [N] of positions [N,3] in [-1,1] under one condition, for the occupancy grid."""
        _, h, _, _ = self._hidden(positions, encoded, [len(positions)])
        return truncated_exp(h[:, 0].float())

    def _hidden(
        self, positions: Tensor, encoded: EncodedCondition, counts: list[int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns x_g, what `geometry` gives, a_l and its value before tanh, of samples as in `forward`."""
        positions, rows = self.moved(positions, encoded.articulation, counts)
        x_g = self.spatial_features(positions, rows)
        a_g, ambient, logits = self.heard_features(x_g, encoded.audio, encoded.articulation, counts)
        return x_g, self.geometry(positions, x_g, a_g, encoded, counts, self.blend(encoded), rows), ambient, logits

    def forward(
        self,
        positions: Tensor,
        view: Tensor,
        encoded: EncodedCondition,
        counts: list[int],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Evaluates samples of C frames, those of one frame together.

        Args:
            positions: [N,3] in [-1,1].
            view: [N,16], `spherical_harmonics` of the unit ray directions, which the caller evaluates once a ray and
                not once a sample.
            encoded: what drives each frame.
            counts: samples of each frame, in order.

        Returns: density [N], colour [N,3], ambient coordinate a_l [N,2], its value before tanh [N,2].
        """
        if self._in_one_kernel(positions.device, counts):
            return self._by_triton(positions, view, encoded)
        x_g, h, ambient, logits = self._hidden(positions, encoded, counts)
        return truncated_exp(h[:, 0].float()), self.colours(h, x_g, view, encoded.code, counts), ambient, logits

    def _in_one_kernel(self, device: torch.device, counts: list[int]) -> bool:
        """Returns whether Triton takes samples through all networks at once: those of one frame, of a field that
        compresses the sound, without gradients or a trainer's own precision, on a GPU with the products for it (from
        compute capability 8.0 on)."""
        plain = not (torch.is_grad_enabled() or torch.is_autocast_enabled(device.type))
        fits = self.audio_compression and len(counts) == 1
        there = resolve(self.grid.backend, device).grids == "triton"
        return plain and fits and there and (interpreted() or has_bfloat16(device.type))

    def _by_triton(
        self, positions: Tensor, view: Tensor, encoded: EncodedCondition
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns what `forward` does of samples of one frame."""
        from aed_nerfstudio.fields.head_triton import HeadNetworks, evaluate

        (positions, _), moved = self.moved(positions, encoded.articulation, [len(positions)]), None
        if self.expression_grid is not None:
            moved = self.expression_grid((positions + 1) / 2, self.blend(encoded), [len(positions)])
        heard = torch.cat([encoded.audio, encoded.articulation], -1)
        return evaluate(
            HeadNetworks(self.compress, self.density, self.colour, self.shading),
            (self.spatial_features(positions), moved, view),
            (heard, encoded.expression, encoded.code),
            self.audio_grid.params.view(-1, 2),
            self.audio_grid.layout,
            torch.bfloat16 if self.in_bfloat16(positions.device) else torch.float32,
        )

    def tones(self, positions: Tensor, encoded: EncodedCondition, counts: list[int]) -> Tensor:
        """Returns the colours before shading and sigmoid [N,3] of a field with a smooth shading; as in `forward`."""
        _, h, _, _ = self._hidden(positions, encoded, counts)
        with self._precision(h.device):
            return self.colour.conditioned([h[:, 1:]], encoded.code, counts).float()

    def colours(self, h: Tensor, x_g: Tensor, view: Tensor, code: Tensor, counts: list[int]) -> Tensor:
        """Returns colours [N,3] of samples with x_g [N,32], of which `geometry` gave h [N,65]; the rest as in
        `forward`."""
        with self._precision(h.device):
            if self.shading is None:
                rgb = self.colour.conditioned([view.to(h.dtype), h[:, 1:]], code, counts)
            else:
                shade = self.shading.conditioned([view, x_g[:, :SHADED]], code[:, :0], counts)
                rgb = self.colour.conditioned([h[:, 1:]], code, counts) + shade
        return torch.sigmoid(rgb.float())
