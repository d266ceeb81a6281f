"""What is kept, for how long, and what makes it outdated."""

import pytest
import torch

from aed_nerfstudio.rendering.still_view import StillView


class Counter:
    """A result that tells how often it was computed."""

    def __init__(self, numbers: int = 4) -> None:
        self.calls = 0
        self.numbers = numbers

    def __call__(self) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        return (torch.full((self.numbers,), float(self.calls)),)


def ask(still, key, depends, make, times: int) -> int:
    """How often asking `times` times computes."""
    before = make.calls
    for _ in range(times):
        still.reuse(key, depends, make)
    return make.calls - before


def test_is_kept_from_the_second_time_on():
    still, make, weight = StillView(), Counter(), torch.zeros(2)
    assert ask(still, "a", [weight], make, 1) == 1 and still.size == 0
    assert ask(still, "a", [weight], make, 5) == 1 and still.size == 16
    assert still.reuse("a", [weight], make)[0].tolist() == [2, 2, 2, 2]


def test_a_camera_that_moves_costs_no_memory():
    still, make = StillView(), Counter()
    for key in range(3 * still.MOST_ENTRIES):
        still.reuse(key, [], make)
    assert still.size == 0 and len(still._entries) <= still.MOST_ENTRIES


@pytest.mark.parametrize("how", ["in place", "replaced", "optimizer", "loaded"])
def test_other_weights_make_it_anew(how):
    still, make, module = StillView(), Counter(), torch.nn.Linear(1, 1)
    assert ask(still, "a", list(module.parameters()), make, 4) == 2
    if how == "in place":
        with torch.no_grad():
            module.weight.mul_(2)
    elif how == "replaced":
        module.weight = torch.nn.Parameter(module.weight.detach().clone())
    elif how == "optimizer":
        module(torch.ones(1, 1)).sum().backward()
        torch.optim.Adam(module.parameters()).step()
    else:
        module.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.ones(1)})
    assert ask(still, "a", list(module.parameters()), make, 4) == 2  # once, and once more to keep it
    assert still.size == 16


def test_weights_that_change_while_it_is_made_outdate_it():
    still, weight = StillView(), torch.zeros(2)

    def make():
        weight.add_(1)
        return (weight.clone(),)

    assert [still.reuse("a", [weight], make)[0][0].item() for _ in range(4)] == [1, 2, 3, 4]


def test_the_oldest_goes_first_and_what_is_too_large_is_not_kept():
    still, make = StillView(budget=40), Counter()
    for key in "ab":
        assert ask(still, key, [], make, 3) == 2
    assert ask(still, "a", [], make, 1) == 0  # now b is the oldest
    assert ask(still, "c", [], make, 3) == 2 and still.size == 32
    assert ask(still, "a", [], make, 1) == 0 and ask(still, "b", [], make, 1) == 1
    assert ask(still, "large", [], Counter(100), 3) == 3 and still.size <= 40


def test_an_interrupted_computation_leaves_nothing():
    still, make = StillView(), Counter()
    still.reuse("a", [], make)

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        still.reuse("a", [], stopped)
    assert still.reuse("a", [], make)[0][0] == 2 and still.reuse("a", [], make)[0][0] == 2
