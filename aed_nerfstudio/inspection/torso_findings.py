"""Whether the shoulders can be followed, and whether the neck that is made up under the chin has the neck's colour."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.inspection.findings import Finding
from aed_nerfstudio.inspection.measures import Measures

SWAYING = 0.06
"""Of the picture's width, root mean square: shoulders that move further leave what a flat torso can follow."""
STEP = 1.5
"""Times the step from chin to neck: beyond it what is made up of the neck shows as a strip of another colour."""


def judge_torso(measures: Measures, width: int) -> list[Finding]:
    """Judges shoulders and neck; width: of the pictures, pixels."""
    look, found = measures.torso, []
    if look.shift is None:
        found.append(Finding("warn", "shoulders", "too little of them is seen to follow their motion",
                             "film head and shoulders, down to the chest"))  # fmt: skip
    else:
        text = f"they move by {look.shift:.1f} px and tilt by {look.turn:.1f} degrees about their mean place"
        if look.shift > SWAYING * width:
            found.append(Finding("warn", "shoulders", text, "let the person sit or stand still; else their edges will "
                                 "be torn beyond the recorded poses"))  # fmt: skip
        else:
            found.append(Finding("ok", "shoulders", text))
    if np.isfinite(look.chin) and np.isfinite(look.made_up):
        text = f"made up under the chin it is {look.made_up:.1f} Delta E from the neck, the chin {look.chin:.1f}"
        if look.made_up > STEP * look.chin:
            found.append(Finding("warn", "neck", text, "light face and neck alike; else a strip of another colour "
                                 "shows where the head is held higher"))  # fmt: skip
        else:
            found.append(Finding("ok", "neck", text))
    return found
