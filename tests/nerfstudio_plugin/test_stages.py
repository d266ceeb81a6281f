"""Which stage a step belongs to."""

from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


def stages(schedule: StageSchedule) -> str:
    return "".join(schedule.stage(step)[0] for step in range(schedule.total))


def test_stages_follow_each_other():
    schedule = StageSchedule(3, 2, 4)
    assert stages(schedule) == "hhhlltttt"
    assert [step for step in range(9) if schedule.ends(step)] == [4, 8]
    assert [schedule.progress(step) for step in (0, 5, 7)] == [0, 0, 0.5]
    assert [step for step in range(9) if schedule.leaves_head(step)] == [3]


def test_the_steps_of_a_stage_switched_off_go_to_the_head():
    without_lips = StageSchedule(3, 2, 4, use_lips=False)
    assert stages(without_lips) == "hhhhhtttt"
    assert [step for step in range(9) if without_lips.leaves_head(step)] == [5]
    schedule = StageSchedule(3, 2, 4, use_torso=False)
    assert stages(schedule) == "hhhllhhhh"
    assert [step for step in range(9) if schedule.ends(step)] == [8]
    assert schedule.progress(6) == 6 / 9
