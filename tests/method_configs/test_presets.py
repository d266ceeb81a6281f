"""The paper's preset holds the paper's numbers, and none of our additions."""

from dataclasses import replace

from aed_nerfstudio.method_configs import aed_nerf as presets
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf, aed_nerf_paper, aed_nerf_tiny

from aed_nerfstudio.nerfstudio_plugin.limits import check_numbers


def test_the_papers_numbers():
    config = aed_nerf_paper.config
    model, data = config.pipeline.model, config.pipeline.datamanager
    schedule = model.schedule
    assert (schedule.head, schedule.lips, schedule.torso) == (20_000, 5_000, 20_000)
    assert config.max_num_iterations == schedule.total
    assert data.train_num_rays_per_batch == data.torso_rays_per_batch == 256 * 256 and data.frames_per_step == 1
    assert (model.lambda_lpips, model.lambda_alpha, model.lambda_audio) == (0.01, 0.001, 0.1)
    assert model.max_samples == model.max_samples_start == 16
    assert {group["optimizer"].lr for group in config.optimizers.values()} == {5e-4}
    assert (model.log2_size, model.top_resolution) == (16, 2048)


def test_the_paper_has_none_of_our_additions():
    pipeline = aed_nerf_paper.config.pipeline
    model, data = pipeline.model, pipeline.datamanager
    ours = (model.articulation, model.linear_lips, model.expression_grid, model.visual_hull, model.use_eye)
    assert not any((*ours, model.audio_ramp, data.balance_labels))
    assert model.lambda_mask == model.lambda_saturation == model.lambda_articulation == model.appearance_dim == 0
    assert model.torso_cells == 0
    assert data.lips_share == data.face_share == pipeline.ema_decay == 0 and pipeline.final_lr_share == 1
    assert data.eyes_share == data.blinks == data.face_patches == 0 and not (model.torso_motion or model.smooth_shading)
    assert model.use_emotion and model.audio_compression and model.schedule.use_lips and model.schedule.use_torso


def test_a_preset_trains_through_its_schedule():
    for preset in (aed_nerf, aed_nerf_tiny):
        assert preset.config.max_num_iterations == preset.config.pipeline.model.schedule.total
        assert preset.config.pipeline.model.articulation and preset.config.pipeline.model.linear_lips


def test_a_gpu_takes_more_rays_and_steps():
    here, there = presets._aed_nerf(False), presets._aed_nerf(True)
    few, many = (config.pipeline.datamanager for config in (here, there))
    assert many.train_num_rays_per_batch == 4 * few.train_num_rays_per_batch
    assert many.frames_per_step > few.frames_per_step and many.torso_frames_per_step > few.torso_frames_per_step
    assert there.max_num_iterations == there.pipeline.model.schedule.total > here.max_num_iterations
    check_numbers(there)
    words = replace(there, machine=replace(there.machine, device_type="cuda")).steps_in_words()
    assert words.startswith("aed-nerf on cuda: steps of 16384 rays of 8 frames (torso: 65536 of 16); 9000 for the head")
