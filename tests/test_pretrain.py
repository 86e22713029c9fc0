"""Training the shipped autoencoders, with a few steps on random images."""

import json

import numpy as np
import pytest
import torch

from latentsr import pretrain

RECIPE = pretrain.Recipe(steps=4, batch=2, crop_px=32)
NAME = "phantom-f4c3"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Random images in place of some hundred phantoms, one thread."""
    rng = np.random.default_rng(0)
    images = [rng.random((40, 48), dtype=np.float32) for _ in range(3)]
    monkeypatch.setattr(pretrain, "training_images", lambda sources: images)
    monkeypatch.setattr(pretrain, "ceilings", lambda vae: {})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_an_interrupted_training_ends_in_the_same_bytes(tmp_path, monkeypatch):
    whole = pretrain.train(NAME, RECIPE, tmp_path / "whole")
    draw, calls = pretrain.crops, []

    def stop_at_the_fourth(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(pretrain, "crops", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        pretrain.train(NAME, RECIPE, tmp_path / "parts", save_every=2)
    again = pretrain.train(NAME, RECIPE, tmp_path / "parts", save_every=2)
    assert len(calls) == 4 + 2  # from the state after two steps, not from the start
    assert again.read_bytes() == whole.read_bytes()
    assert again.with_suffix(".json").read_text() == whole.with_suffix(".json").read_text()


def test_a_finished_one_is_not_trained_again(tmp_path, monkeypatch):
    out = pretrain.train(NAME, RECIPE, tmp_path)
    (tmp_path / f"{NAME}.pt").unlink()
    made = out.stat().st_mtime_ns
    assert pretrain.train(NAME, RECIPE, tmp_path).stat().st_mtime_ns == made
    longer = pretrain.Recipe(steps=5, batch=2, crop_px=32)
    pretrain.train(NAME, longer, tmp_path)
    assert json.loads(out.with_suffix(".json").read_text())["recipe"]["steps"] == 5


def test_a_state_of_another_recipe_is_refused(tmp_path):
    pretrain.train(NAME, RECIPE, tmp_path)
    with pytest.raises(ValueError, match="made with .*'steps': 4.*; remove it to start anew"):
        pretrain.train(NAME, pretrain.Recipe(steps=5, batch=2, crop_px=32), tmp_path)


def test_another_seed_is_another_autoencoder(tmp_path):
    one, other = (pretrain.train(name, RECIPE, tmp_path) for name in (NAME, f"{NAME}-s1"))
    assert one.read_bytes() != other.read_bytes()
