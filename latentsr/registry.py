"""The autoencoders there are: names, geometry, and what each was trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

NATURAL, ANATOMIES = "natural", ("knee", "brain", "chest")


@dataclass(frozen=True)
class Spec:
    """What a small autoencoder is: its geometry and what it was trained on."""

    name: str
    factor: int
    latent_channels: int
    trained_on: tuple[str, ...]
    seed: int = 0

    @property
    def geometry(self) -> str:
        return f"f{self.factor}c{self.latent_channels}"


def _specs() -> dict[str, Spec]:
    corners = [
        (f"{domain}-f{factor}c{channels}{suffix}", factor, channels, sources, seed)
        for factor, channels in ((8, 4), (4, 3))
        for domain, sources in ((NATURAL, (NATURAL,)), ("phantom", ANATOMIES))
        for seed, suffix in ((0, ""), (1, "-s1"))
    ]
    budget = [("natural-f4c1", 4, 1, (NATURAL,), 0), ("phantom-f4c1", 4, 1, ANATOMIES, 0)]
    without = [
        (f"phantom-f4c3-without-{left_out}", 4, 3, tuple(a for a in ANATOMIES if a != left_out), 0)
        for left_out in ANATOMIES
    ]
    return {row[0]: Spec(*row) for row in corners + budget + without}


SPECS: dict[str, Spec] = _specs()
EXTERNAL = {  # the paper's own autoencoders, and where they are published
    "sd-vae-ft-ema": "Hugging Face stabilityai/sd-vae-ft-ema",
    "kl-f4": "CompVis latent-diffusion, kl-f4.zip",
    "medvae-8-1": "Hugging Face stanfordmimi/MedVAE",
    "medvae-8-4": "Hugging Face stanfordmimi/MedVAE",
    "medvae-4-1": "Hugging Face stanfordmimi/MedVAE",
    "medvae-4-3": "Hugging Face stanfordmimi/MedVAE",
    "medvae-4-4": "Hugging Face stanfordmimi/MedVAE",
}
NAMES = (*SPECS, *EXTERNAL)  # what parameters may hold
CORNERS = (  # of domain x geometry: natural f8, other f8, natural f4, other f4
    ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"),
    ("sd-vae-ft-ema", "medvae-8-4", "kl-f4", "medvae-4-3"),
)


def spec(name: str) -> Spec:
    """Return the entry of a registered autoencoder.

    Raises
    ------
    ValueError
        For a name that is not in the registry.

    Examples
    --------
    >>> spec("phantom-f4c3").geometry
    'f4c3'
    """
    if name not in SPECS:
        raise ValueError(f"vae: unknown name {name!r}; known are {', '.join(SPECS)}")
    return SPECS[name]


def corners(names: Collection[str]) -> tuple[str, ...]:
    """Return the four corners of domain x geometry among these autoencoders; () if not all are.

    >>> corners(["natural-f8c4", "phantom-f4c3"])
    ()
    """
    return next((four for four in CORNERS if set(four) <= set(names)), ())
