"""Which layouts there are, and ``sets.yaml``: the sets of the study and how each is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from latentsr.datasets import brats, folder, mimic_cxr, mrnet
from latentsr.datasets.pixels import ANATOMIES
from latentsr.datasets.records import Adapter, paths_below

ADAPTERS = {
    adapter.name: adapter
    for adapter in (mrnet.ADAPTER, brats.ADAPTER, mimic_cxr.ADAPTER, folder.ADAPTER)
}
NAME = re.compile(r"[a-z][a-z0-9_-]*")
NAME_WORDS = "a-z, 0-9, _ and -, a letter first, and not a word such as all, no or null"
NOT_NAMES = set("all first null none nan na true false yes no on off".split())  # mean other things
READING = ("axis", "slices", "fraction", "intensity", "square", "on_error")  # kept by `data use`
Model = TypeVar("Model")


def adapter_called(name: str) -> Adapter:
    """Return the adapter of a name; an unknown name is an error, never a plain folder."""
    if name not in ADAPTERS:
        raise ValueError(f"layout: {name!r}; allowed are {', '.join(ADAPTERS)}")
    return ADAPTERS[name]


def recognise(root: Path) -> tuple[str, Path]:
    """Tell the adapter of a user's folder by its layout, and the folder the adapter wants.

    A part of one of the sets is refused: read as a plain folder, a patient would get into both
    splits.
    """
    part: Adapter | None = None
    for path in paths_below(root):  # of half a million files: no further than needed
        for adapter in ADAPTERS.values():
            if inner := adapter.root_of(path, root):
                return adapter.name, inner
            if not part and adapter.part and re.search(adapter.part, path.as_posix()):
                part = adapter
    if part and not (root / "manifest.csv").is_file():
        mend = "get it, or name files and subjects in a manifest.csv to read a plain folder"
        raise ValueError(f"{root}: looks like a part of {part.lacks}; {mend}")
    return folder.ADAPTER.name, root


def _one_of(value: str, allowed: Iterable[str]) -> str:
    if value not in allowed:
        raise ValueError(f"allowed are {', '.join(allowed)}")
    return value


def _inside(folder: str) -> str:
    if not folder or Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ValueError("a folder inside data/ is needed")
    return folder


Axis = Annotated[
    Literal["auto", "0", "1", "2"], BeforeValidator(lambda v: str(v) if type(v) is int else v)
]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class SetEntry:
    """How a set is read; ``folder`` is relative to ``data/``."""

    adapter: Annotated[str, AfterValidator(lambda name: _one_of(name, ADAPTERS))]
    folder: Annotated[str, AfterValidator(_inside)]
    anatomy: Annotated[str, AfterValidator(lambda name: _one_of(name, ANATOMIES))]
    split_by: Literal["subject", "image"] = "subject"
    allow_images: bool = False  # may pages show images of this set?
    axis: Axis = "auto"  # of volumes in a folder: along which, how many slices, of which share
    slices: Annotated[int, Field(ge=1)] = 5
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    # how a folder's images are brought to [0, 1]
    intensity: Literal["auto", "range", "minmax", "percentile", "window"] = "auto"
    square: Literal["crop", "pad"] = "crop"  # how an oblong image of a folder becomes square
    on_error: Literal["stop", "skip"] = "stop"  # skip: leave out what cannot be read, and list it

    @model_validator(mode="after")
    def _fits_adapter(self) -> Self:
        adapter = ADAPTERS[self.adapter]
        taken = {*adapter.options, "allow_images", "on_error"}
        taken |= {"square"} if adapter.anatomy == "folder" else set()
        for key, value in self.not_default().items():
            if key not in (*taken, "adapter", "folder", "anatomy"):
                raise ValueError(f"{key}: {value!r}; adapter {self.adapter} does not take it")
        return self

    def not_default(self) -> dict[str, Any]:
        """Return the keys whose value is not the default one, with their values."""
        usual = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != usual[key]}

    @property
    def subject_word(self) -> str:
        return "image" if self.split_by == "image" else ADAPTERS[self.adapter].subject_word


def validated(model: type[Model], values: Any, where: str = "") -> Model:
    """Build a pydantic model or dataclass from the keys and values of a YAML block.

    Every fault gives the error a line that begins with ``where``: key, value, what is allowed.

    >>> validated(SetEntry, {"adapter": "mrnet", "folder": "/knee", "site": 1}, "sets.knee.")
    Traceback (most recent call last):
    ValueError: sets.knee.folder: '/knee'; a folder inside data/ is needed
    sets.knee.anatomy: missing key; add it
    sets.knee.site: unknown key; allowed are adapter, folder, ... intensity, square, on_error
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where.rstrip(' .:')}: {values!r}; keys and values are needed")
    try:
        return model(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        lines = [line for one in error.errors() for line in _fault(model, one).splitlines()]
        raise ValueError("\n".join(where + line for line in lines)) from None


def _fault(model: Any, fault: Mapping[str, Any]) -> str:
    """Say in one line which key is at fault, its value and what is allowed."""
    name, kind = ".".join(map(str, fault["loc"])), fault["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        for key in fault["loc"][:-1]:
            model = model.__pydantic_fields__[key].annotation
        return f"{name}: unknown key; allowed are {', '.join(model.__pydantic_fields__)}"
    if kind == "missing":
        return f"{name}: missing key; add it"
    if kind == "value_error":
        needed = str(fault["ctx"]["error"])
        if not name:  # of values that do not fit together: the message names the keys
            return needed
    elif kind == "literal_error":
        allowed = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        needed = f"allowed are {allowed}"
    else:
        needed = fault["msg"].removeprefix("Input should be ") + " is needed"
    return f"{name}: {fault['input']!r}; {needed}"


def is_name(name: object) -> bool:
    """Tell whether a set may be called so: the name stands in files, tables and commands.

    >>> is_name("knee"), is_name("no"), is_name("-x"), is_name(2024)
    (True, False, False, False)
    """
    return isinstance(name, str) and bool(NAME.fullmatch(name)) and name not in NOT_NAMES


def read_sets(path: Path) -> tuple[str, dict[str, SetEntry]]:
    """Read ``sets.yaml``: the source ("phantoms" or "own") and the sets of the study in order."""
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else "?"
        mend = "`latentsr data reset` mends it"
        raise ValueError(f"{path}: line {line} is not YAML; {mend}") from None
    sets = validated(_Sets, raw, f"{path}: ")
    entries = {
        name: validated(SetEntry, sets.sets[name], f"{path}: sets.{name}.") for name in sets.names
    }
    return sets.source, entries


@dataclass(frozen=True, config=ConfigDict(strict=True))
class _Sets:
    source: Literal["phantoms", "own"]
    names: Annotated[list[Any], Field(min_length=1)]
    sets: dict[Any, Any]

    @model_validator(mode="after")
    def _named(self) -> Self:
        for name in self.names:
            if not is_name(name) or self.names.count(name) > 1:
                raise ValueError(f"names: {name!r}; allowed are {NAME_WORDS}, each once")
            if name not in self.sets:
                known = ", ".join(map(str, self.sets))
                raise ValueError(f"names: unknown set name {name!r}; sets has {known}")
        return self


PHANTOM_SETS = {
    "knee": SetEntry("mrnet", "knee/MRNet-v1.0", "knee"),
    "brain": SetEntry("brats", "brain", "brain"),
    "chest": SetEntry("mimic_cxr", "chest", "chest"),
}


def study_sets(inputs: Path) -> tuple[str, dict[str, SetEntry]]:
    """Return source and sets of the study; scratch folders always hold the embedded phantoms."""
    if inputs.parts[0] == ".scratch":
        return "phantoms", PHANTOM_SETS
    source, entries = read_sets(Path("sets.yaml"))
    check_source(source, Path("data.dvc"))
    return source, entries


def check_source(source: str, data_dvc: Path) -> None:
    """Refuse images that ``sets.yaml`` calls another source than ``data.dvc`` imports.

    Pages show phantoms without being asked, so nothing else may be called so.
    """
    try:
        imported = yaml.safe_load(data_dvc.read_text())["deps"][0]["path"]
    except (OSError, yaml.YAMLError, TypeError, KeyError, IndexError):
        raise ValueError(f"{data_dvc}: cannot be read; `latentsr data reset` mends it") from None
    if imported != f"assets/{source}":
        both = f"source: {source!r}, but {data_dvc} imports {imported}"
        mend = "`latentsr data use NAME=DIR` or `latentsr data reset` writes both"
        raise ValueError(f"sets.yaml: {both}; {mend}")
