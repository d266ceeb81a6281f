"""Numbers and lists as `aed inspect` writes them."""

from __future__ import annotations

from collections.abc import Iterable

from aed_nerfstudio.inspection.measures import Measures, SoundGroup

NAMED = 5
"""Clips, or pairs of labels, that are named one by one."""


def percent(share: float) -> str:
    """Returns a share, 0..1, as a percentage with one digit."""
    return f"{100 * share:.1f} %"


def by_percent(change: float) -> str:
    """Returns how large a change is, as a whole percentage without a sign."""
    return f"{100 * abs(change):.0f} %"


def count_of(count: int, what: str) -> str:
    """Returns a number with what is counted, as in "1 clip" and "2 clips"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def signed(seconds: float) -> str:
    """Returns seconds with their sign, two digits, and no minus before zero."""
    return f"{round(seconds, 2) + 0.0:+.2f}"


def reasons(measures: Measures) -> str:
    """Returns why frames were lost, in brackets; nothing where none were."""
    return f" ({', '.join(f'{why} {number}' for why, number in measures.lost.items())})" if measures.lost else ""


def first_names(groups: Iterable[SoundGroup | str]) -> str:
    """Returns the names of the first `NAMED` clips or groups of clips, and how many more there are."""
    names = [group if isinstance(group, str) else group.title for group in groups]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
