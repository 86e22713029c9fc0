"""How long the paper's denoiser takes on this machine: a training step, and 50 calls.

python benchmarks/paper_speed.py [--device cuda] [--steps 100]   (random numbers for latents)
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import torch

from latentsr.companion.pipeline import params
from latentsr.diffusion import networks, process, samplers, train
from latentsr.experiments.run import TrainConfig


def timed(run, on):
    started = time.monotonic()
    run()
    if on == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    on = given.device
    block = params.read(Path("profiles/paper.yaml"))["train_arm"]
    base = TrainConfig.from_params(asdict(block))
    times = samplers.timesteps("spaced", block.sampling_steps, 999)
    print("| arm | parameters, million | ms a training step | hours a training |", end="")
    print(" s for 50 calls on 64 images | peak memory, GB |\n| :-- |" + " --: |" * 5)
    for name, channels, condition_channels, side in (
        ("common grid, f8, 4 + 4 channels", 4, 4, 32),
        ("common grid, f4, 12 + 16 channels", 12, 16, 32),
        ("own grid, f4, 3 + 3 channels", 3, 3, 64),
    ):
        net = networks.build(channels, condition_channels, base.network, 0)
        random = torch.Generator().manual_seed(0)
        target = torch.randn(64, channels, side, side, generator=random)
        condition = torch.randn(64, condition_channels, side, side, generator=random)

        def train_for(steps, net=net, target=target, condition=condition):
            made = asdict(base.settings) | {"steps": steps, "ema_decay": block.ema_decay}
            train.train(net, target, condition, train.Settings(**made), device=on)

        train_for(5)
        half, whole = (timed(lambda k=k: train_for(k), on) for k in (given.steps // 2, given.steps))
        step = (whole - half) / (given.steps - given.steps // 2)

        def sample(net=net, target=target, condition=condition):
            alphas = process.alphas_cumprod("cosine")
            with torch.no_grad():
                samplers.ddim(net, target.to(on), condition.to(on), times, alphas)

        sample()
        seconds = timed(sample, on)
        parameters = sum(value.numel() for value in net.parameters())
        memory = torch.cuda.max_memory_allocated() / 1e9 if on == "cuda" else float("nan")
        print(
            f"| {name} | {parameters / 1e6:.1f} | {1000 * step:.1f} | "
            f"{step * block.steps / 3600:.2f} | {seconds:.1f} | {memory:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
