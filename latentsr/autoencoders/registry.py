"""The autoencoders there are: a table (``registry.yaml``), and what a name or path means."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
NATURAL, ANATOMIES = "natural", ("knee", "brain", "chest")
CELLS = ("natural f8", "other f8", "natural f4", "other f4")  # of domain x geometry
ONE_CHANNEL = ("natural f4c1", "other f4c1")  # as many values as f8
FREE_COLORS = ("#117733", "#882255", "#661100", "#DDCC77")  # of autoencoders without a row


@dataclass(frozen=True)
class AutoencoderSpec:
    """One row of the table; the keys are explained there."""

    name: str
    factor: int
    latent_channels: int
    trained_on: Sequence[str]
    color: str
    seed: int = 0
    cell: str = ""
    posterior: str = "mean"
    licence: str = "Apache-2.0"
    repo: str = ""
    file: str = ""
    revision: str = ""
    megabytes: int | None = None
    url: str = ""
    inside: str = ""
    sha256: str = ""

    @property
    def geometry(self) -> str:
        return f"f{self.factor}c{self.latent_channels}"

    @property
    def source(self) -> str:
        """Where it is published; "" for a shipped one."""
        return self.url.removeprefix("https://") or (self.repo and f"huggingface.co/{self.repo}")


def _rows(part: str) -> dict[str, AutoencoderSpec]:
    table = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {name: AutoencoderSpec(name, **row) for name, row in table[part].items()}


SHIPPED, PUBLISHED = _rows("shipped"), _rows("published")
NAMES = (*SHIPPED, *PUBLISHED)  # what parameters may hold
PART = r"\w[\w.-]*"
HUB = re.compile(rf"hf/(?P<repo>{PART}/{PART})/(?P<revision>[0-9a-f]{{40}})(?P<folder>(/{PART})*)")
VAGUE = {"vae", "diffusion_pytorch_model", "model", "pytorch_model", "best", "last"}


def spec(name: str) -> AutoencoderSpec:
    """Return the row of an autoencoder.

    >>> spec("phantom-f4c3").geometry
    'f4c3'
    """
    if name not in NAMES:
        raise ValueError(f"vae: unknown name {name!r}; known are {', '.join(NAMES)}")
    return (SHIPPED | PUBLISHED)[name]


def _cells(family: Mapping[str, AutoencoderSpec]) -> dict[str, str]:
    return {row.cell: name for name, row in family.items() if row.cell}


def design_cells(names: Collection[str]) -> tuple[str, ...]:
    """Return the four cells of domain x geometry among these names; () if not all are there.

    >>> design_cells(["natural-f8c4", "phantom-f4c3"])
    ()
    """
    for family in (SHIPPED, PUBLISHED):
        if set(four := [_cells(family)[cell] for cell in CELLS]) <= set(names):
            return tuple(four)
    return ()


def one_channel(cells: Sequence[str]) -> tuple[str, str]:
    """Return the f4 autoencoders of one channel that go with four design cells, "" for none.

    >>> one_channel(["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"])
    ('natural-f4c1', 'phantom-f4c1')
    """
    family = _cells(SHIPPED if cells[0] in SHIPPED else PUBLISHED)
    return family.get(ONE_CHANNEL[0], ""), family.get(ONE_CHANNEL[1], "")


def natural_counterpart(vae: str, names: Collection[str]) -> str:
    """Return the autoencoder of photographs with a design cell's geometry; "" if not in names.

    >>> natural_counterpart("medvae-4-3", ["kl-f4"])
    'kl-f4'
    >>> natural_counterpart("phantom-f4c3", ["natural-f8c4"])
    ''
    """
    family = SHIPPED if vae in SHIPPED else PUBLISHED
    if vae not in family or not family[vae].cell:
        return ""
    natural = _cells(family).get(f"natural {family[vae].cell.split()[1]}", "")
    return natural if natural in names else ""


def colors(names: Sequence[str]) -> dict[str, str]:
    """Return the color of each: its row's, or a free one by its place among those without a row.

    >>> colors(["phantom-f4c3", "mine-190d", "yours-a1"])
    {'phantom-f4c3': '#0072B2', 'mine-190d': '#117733', 'yours-a1': '#882255'}
    """
    own = [name for name in dict.fromkeys(names) if name not in NAMES]
    free = {name: FREE_COLORS[k % len(FREE_COLORS)] for k, name in enumerate(own)}
    return {name: free.get(name) or spec(name).color for name in names}


def posterior(vae: str) -> str:
    """Return what an autoencoder gives as published: ``sampled``, or the posterior ``mean``."""
    return spec(vae).posterior if vae in NAMES else "mean"


def trained_on(vae: str) -> str:
    """Name what an autoencoder was trained on, as far as it is known."""
    if vae in PUBLISHED:
        return str(PUBLISHED[vae].trained_on)
    if vae not in SHIPPED:
        return "not known"
    domain = SHIPPED[vae].trained_on
    return "photographs" if domain == [NATURAL] else f"phantoms: {', '.join(domain)}"


def training_seed(vae: str) -> int | str:
    """Return the seed that a shipped autoencoder was trained with, "" for others: not known."""
    return SHIPPED[vae].seed if vae in SHIPPED else ""


def is_vae(value: str) -> bool:
    """Return whether a parameter can mean an autoencoder: a name, or a path with a / in it.

    Of the Hugging Face hub it is ``hf/OWNER/NAME/REVISION``, with a folder inside the repository
    after it if there is one; a revision has 40 digits.

    >>> is_vae("kl-f4"), is_vae("kl-f5"), is_vae("/my data/x.safetensors"), is_vae("hf/me/mine/main")
    (True, False, True, False)
    """
    if value.startswith("hf/"):
        return HUB.fullmatch(value) is not None
    plain = re.fullmatch(r"[\w./+ -]+", value) and ".." not in Path(value).parts
    return value in NAMES or bool("/" in value and plain and value == value.strip())


def arm_dir(vae: str) -> str:
    """Return the folder of an arm below its set's: the autoencoder's name, or its path.

    >>> arm_dir("/data/mine.safetensors")
    'data/mine.safetensors'
    """
    return vae.strip("/")


def display_name(vae: str) -> str:
    """Return the name of an autoencoder in tables: its own, or for a path the file's stem.

    Four digits of the whole path's digest distinguish equal stems. Of a file or folder whose name
    is a common one the folder above is named too.

    >>> display_name("medvae-4-3"), display_name("/data/mine.safetensors")
    ('medvae-4-3', 'mine-190d')
    """
    if vae in NAMES or "/" not in vae:
        return vae
    path = Path(vae)
    if hub := HUB.fullmatch(vae):
        path = Path(hub["repo"])
    known = path.suffix in (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
    stem = path.stem if known else path.name
    if stem in VAGUE and path.parent.name:
        stem = f"{path.parent.name}-{stem}"
    return f"{stem}-{sha256(vae.encode()).hexdigest()[:4]}"
