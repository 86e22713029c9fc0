"""The autoencoders there are: names, geometry, and what each was trained on."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
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


@dataclass(frozen=True)
class Published:
    """An autoencoder that others trained: where its file is published, and under which terms."""

    url: str
    licence: str
    trained_on: str
    factor: int
    latent_channels: int
    megabytes: int | None = None
    inside: str = ""  # the file to take out of a zip archive

    @property
    def geometry(self) -> str:
        return f"f{self.factor}c{self.latent_channels}"

    @property
    def source(self) -> str:
        return self.url.removeprefix("https://").split("/resolve/")[0]


def _published() -> dict[str, Published]:
    hub = "https://huggingface.co"
    # repository, revision, trained on
    stable = {
        "ema": "f04b2c4b98319346dad8c65879f680b1997b204a",
        "mse": "31f26fdeee1355a5c34592e401dd41e45d25a493",
    }
    photographs = "photographs and portraits of LAION"
    found = {
        f"sd-vae-ft-{kind}": Published(
            f"{hub}/stabilityai/sd-vae-ft-{kind}/resolve/{revision}/{WEIGHTS_FILE}",
            *("MIT", photographs, 8, 4, 335),
        )
        for kind, revision in stable.items()
    }
    compvis = "https://ommer-lab.com/files/latent-diffusion/kl-f4.zip"
    found["kl-f4"] = Published(
        compvis, "MIT", "photographs of OpenImages", 4, 3, None, "model.ckpt"
    )
    medical = "medical images, 1,052,730 or 1.6 million"  # by its own paper; by this study's
    for factor, channels, megabytes in (
        (4, 1, 221),
        (4, 3, 224),
        (4, 4, 221),
        (8, 1, 335),
        (8, 4, 338),
    ):
        later = (factor, channels) == (
            4,
            4,
        )  # published after the revision of the others; not pinned
        revision = "main" if later else "041f23d40d9890a3ee0cc1ee56e750e4b81acbe0"
        file = f"model_weights/vae_{factor}x_{channels}c_2D.ckpt"
        found[f"medvae-{factor}-{channels}"] = Published(
            f"{hub}/stanfordmimi/MedVAE/resolve/{revision}/{file}",
            *("MIT", medical, factor, channels, megabytes),
        )
    found["taesd"] = Published(
        f"{hub}/madebyollin/taesd/resolve/931366cc24b8bc15d6f682fa2e0352f1deec397b/{WEIGHTS_FILE}",
        *("MIT", "what Stable Diffusion's autoencoder makes of photographs", 8, 4, 10),
    )
    return found


PUBLISHED: dict[str, Published] = _published()
NAMES = (*SPECS, *PUBLISHED)  # what parameters may hold
CORNERS = (  # of domain x geometry: natural f8, other f8, natural f4, other f4
    ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"),
    ("sd-vae-ft-ema", "medvae-8-4", "kl-f4", "medvae-4-3"),
)

ONE_CHANNEL = (  # of natural f4 and other f4 with as many numbers as f8, "" where there is none
    ("natural-f4c1", "phantom-f4c1"),
    ("", "medvae-4-1"),
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


def one_channel(corners: tuple[str, ...]) -> tuple[str, str]:
    """Return the f4 autoencoders of one channel that go with four corners.

    >>> one_channel(corners(["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]))
    ('natural-f4c1', 'phantom-f4c1')
    """
    return ONE_CHANNEL[CORNERS.index(corners)]


def natural_twin(vae: str, names: Collection[str]) -> str:
    """Return the corner trained on photographs that has a corner's geometry; "" if not in names.

    >>> natural_twin("medvae-4-3", ["kl-f4"]), natural_twin("phantom-f4c3", ["natural-f8c4"])
    ('kl-f4', '')
    """
    for natural_8, other_8, natural_4, other_4 in CORNERS:
        twins = {natural_8: natural_8, other_8: natural_8, natural_4: natural_4, other_4: natural_4}
        if twins.get(vae) in names:
            return twins[vae]
    return ""


PART = r"\w[\w.-]*"
HUB = re.compile(
    rf"hf/(?P<repository>{PART}/{PART})/(?P<revision>[0-9a-f]{{40}})(?P<inner>(/{PART})*)"
)


def hub_files(vae: str) -> dict[str, str]:
    """Return where the two files of a diffusers folder on the Hugging Face hub are published.

    Such an autoencoder is called ``hf/OWNER/NAME/REVISION``, with a folder inside the repository
    after it if there is one; {} for every other name.

    >>> list(hub_files("hf/me/mine/" + "0" * 40 + "/vae")), hub_files("kl-f4")
    (['config.json', 'diffusion_pytorch_model.safetensors'], {})
    """
    match = HUB.fullmatch(vae)
    if not match:
        return {}
    server = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    base = f"{server}/{match['repository']}/resolve/{match['revision']}{match['inner']}"
    return {file: f"{base}/{file}" for file in ("config.json", WEIGHTS_FILE)}


def is_vae(value: str) -> bool:
    """Say whether a parameter can mean an autoencoder: a name, or a path with a / in it.

    >>> is_vae("kl-f4"), is_vae("kl-f5"), is_vae("/my data/x.safetensors"), is_vae("hf/me/mine/main")
    (True, False, True, False)
    """
    if value.startswith("hf/"):
        return HUB.fullmatch(value) is not None
    plain = re.fullmatch(r"[\w./+ -]+", value) and ".." not in Path(value).parts
    return value in NAMES or bool("/" in value and plain and value == value.strip())


def folder(vae: str) -> str:
    """Return the folder of an arm below its set's: the autoencoder's name, or its path.

    >>> folder("/data/mine.safetensors")
    'data/mine.safetensors'
    """
    return vae.strip("/")


def trained_on(vae: str) -> str:
    """Say what an autoencoder was trained on, as far as it is known."""
    if vae in PUBLISHED:
        return PUBLISHED[vae].trained_on
    if vae not in SPECS:
        return "not known"
    natural = SPECS[vae].trained_on == (NATURAL,)
    return "photographs" if natural else f"phantoms: {', '.join(SPECS[vae].trained_on)}"


def training_seed(vae: str) -> int | str:
    """Return the seed that a small autoencoder was trained with, "" for others: not known."""
    return SPECS[vae].seed if vae in SPECS else ""


COMMON = {"vae", "diffusion_pytorch_model", "model", "pytorch_model", "best", "last"}  # say nothing


def label(vae: str) -> str:
    """Return the name of an autoencoder in tables: its own, or for a path the file's stem.

    Four digits that the whole path decides tell equal stems apart. Of a file or folder whose name says
    nothing the folder above is named too.

    >>> label("medvae-4-3"), label("/data/mine.safetensors"), label("/old/natural-f4c1.pt")
    ('medvae-4-3', 'mine-190d', 'natural-f4c1-2003')
    """
    if vae in NAMES or "/" not in vae:
        return vae
    path = Path(vae)
    if hub := HUB.fullmatch(vae):
        path = Path(hub["repository"])
    known = path.suffix in (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
    stem = path.stem if known else path.name
    if stem in COMMON and path.parent.name:
        stem = f"{path.parent.name}-{stem}"
    return f"{stem}-{sha256(vae.encode()).hexdigest()[:4]}"
