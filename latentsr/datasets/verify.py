"""`latentsr verify-data`: what lies in a folder beside what its data set should have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latentsr.datasets import files, pixels
from latentsr.datasets.folder import visible_files
from latentsr.datasets.pixels import Array
from latentsr.datasets.records import Adapter, CheckRow, Record
from latentsr.datasets.sets import adapter_called, recognise

QUICK = 50  # images that are opened without --full, evenly spread
ACROSS = 8  # images in a row of a contact sheet


@dataclass
class FileReport:
    """What opening files gave so far; ``stopped`` by the user, before all were opened."""

    adapter: Adapter
    full: bool
    hr_px: int
    opened: int = 0
    good: int = 0
    stopped: bool = False
    problems: list[str] = field(default_factory=list)
    sizes: set[tuple[int, ...]] = field(default_factory=set)
    dtypes: set[str] = field(default_factory=set)
    labels: set[float] = field(default_factory=set)

    def check(self, record: Record) -> None:
        """Read an image and its mask, with ``full`` as whole volumes; note what is wrong."""
        before = len(self.problems)
        for path, check in ((record.path, self._image), (record.mask_path, self._mask)):
            try:
                if path:
                    check(record)
            except Exception as error:  # noqa: BLE001 - every reader raises its own kinds
                self.problems.append(f"{path}: {pixels.one_line(error)}")
        self.opened += 1
        self.good += len(self.problems) == before

    def _image(self, record: Record) -> None:
        image = record.read()
        volume = record.volume() if self.full and record.volume else image
        self.dtypes.add(str(volume.dtype))
        if wanted := self.adapter.shape:
            shape = volume.shape
            if volume.ndim != 3:
                shape = files.opened(record.path, files.kind(record.path) or "").shape
            fits = [want in (None, have) for want, have in zip(wanted, shape, strict=False)]
            if len(shape) != len(wanted) or not all(fits):
                raise ValueError(f"shape {shape}; {wanted} is expected")
        if self.adapter.dtype not in ("", str(volume.dtype)):
            raise ValueError(f"pixels of type {volume.dtype}; {self.adapter.dtype} is expected")
        pixels.check_numbers(volume.dtype)
        pixels.check_finite(volume)
        if np.ptp(volume) == 0:
            raise ValueError(f"all pixels are {volume.flat[0]}")
        pixels.prepare_pixels(image, self.adapter.anatomy, self.hr_px)
        self.sizes.add(image.shape)

    def _mask(self, record: Record) -> None:
        whole = self.full and record.volume and record.mask_volume
        pair = (record.volume, record.mask_volume) if whole else (record.read, record.mask)
        image, mask = (read() for read in pair if read)
        pixels.check_mask(mask, image)
        if whole and self.adapter.labels:
            labels = {float(label) for label in np.unique(mask)}
            self.labels |= labels
            if unknown := sorted(labels - set(self.adapter.labels)):
                raise ValueError(f"label {unknown[0]:g}; {self._allowed_labels} are expected")

    @property
    def _allowed_labels(self) -> str:
        labels = self.adapter.labels
        return f"{min(labels)} to {max(labels)}" if labels else ""

    def rows(self) -> list[CheckRow]:
        """Say what the opened files hold."""
        rows, dtype = [], self.adapter.dtype
        if self.dtypes:
            good = not dtype or self.dtypes == {dtype}
            rows.append(
                CheckRow("pixel types as read", ", ".join(sorted(self.dtypes)), dtype, good)
            )
        if self.labels:
            listed = ", ".join(f"{label:g}" for label in sorted(self.labels))
            good = self.labels <= set(self.adapter.labels)
            rows.append(CheckRow("labels", listed, self._allowed_labels, good))
        if self.sizes:
            height, width = min(self.sizes, key=lambda shape: (min(shape), max(shape)))
            rows.append(CheckRow("smallest image, pixels", f"{height} x {width}"))
        good = self.good == self.opened
        what = "of those looked at, can be used"
        return [*rows, CheckRow(what, f"{self.good:,}", f"{self.opened:,}", good)]


def _inventory(adapter: Adapter, folder: Path, slices: int) -> tuple[list[CheckRow], list[Record]]:
    """Count what a folder lists beside what it should, and list its images; nothing is opened."""
    root, count = folder, CheckRow.count
    if adapter.name != "folder" and not (adapter.tables and any(root.glob(adapter.tables))):
        known, inner = recognise(root)  # archives unpack into folders of their own
        root = inner if known == adapter.name else root
    if adapter.inventory:
        return adapter.inventory(root, slices)
    how = {"split_by": "image", "test_fraction": 0.2, "seed": 0}
    records = adapter.listed(root, **how, slices=slices, brain_slices=slices)
    used = {path for record in records for path in record.files} | {*root.glob(adapter.tables)}
    left = [path for path in visible_files(root) if path not in used]
    first = f" ({left[0].relative_to(root)} the first)" if left else ""
    return [
        count("images and volumes", len({record.path for record in records})),
        count("volumes of them", len({r.path for r in records if r.volume})),
        count(f"other files{first}", len(left), note="not read here"),
        count("subjects", len({record.subject_id for record in records})),
    ], records


def verify(
    layout: str,
    root: Path,
    *,
    full: bool = False,
    hr_px: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[list[CheckRow], FileReport]:
    """Compare a folder with what its layout (the name of an adapter) should hold.

    ``full`` opens every image that the study may read, volumes and segmentations as a whole; else
    `QUICK` of them are opened, evenly spread, and of a volume the middle slice. Images smaller
    than ``hr_px`` are a problem. ``progress`` is called after every image with how many were
    opened, and how many will be; on Ctrl-C the report is of those opened until then. A folder that
    cannot be listed at all is an error.
    """
    adapter = adapter_called(layout)
    if not root.is_dir():
        raise ValueError(f"{root}: not a folder")
    rows, records = _inventory(adapter, root, 1)
    report = FileReport(adapter, full, hr_px)
    report.problems = [f"{record.path}: {record.fault}" for record in records if record.fault]
    report.opened = faults = len(report.problems)
    sound = [record for record in records if not record.fault]
    chosen = sound if full else sound[:: max(1, -(-len(sound) // QUICK))]
    try:
        for done, record in enumerate(chosen, start=1):
            report.check(record)
            progress(done, len(chosen))
    except KeyboardInterrupt:
        report.stopped = True
        total = len(chosen) + faults
        rows.append(CheckRow("stopped after", f"{report.opened:,}", f"{total:,}", False))
    twice = len(records) - len({record.image_id for record in records})
    rows.append(CheckRow.count("images listed twice", twice, 0))
    if adapter.own_split:
        pairs = {(record.subject_id, record.split) for record in records}
        both = len(pairs) - len({subject for subject, _ in pairs})
        rows.append(CheckRow.count(f"{adapter.subject_word}s in two splits", both, 0))
    return [*rows, *report.rows()], report


def contact_sheet(
    layout: str, root: Path, *, count: int = 48, slices: int = 5, side_px: int = 128
) -> Array:
    """Return one picture of about ``count`` images, evenly spread over a folder.

    Prepared as the study prepares them, with the layout's own settings; one that cannot be used
    is a grey square. A volume shows ``slices``, more where there are few volumes, and up to eight
    fill a row; an MRNet exam shows the one that the study reads.
    ``(rows * side_px, across * side_px)`` uint8.
    """
    from skimage.util import montage

    adapter = adapter_called(layout)
    volumes = _volumes(adapter, root, slices)
    if sum(map(len, volumes)) < count:
        volumes = _volumes(adapter, root, -(-count // len(volumes)))
    wanted = -(-count * len(volumes) // sum(map(len, volumes)))
    places = np.linspace(0, len(volumes) - 1, min(wanted, len(volumes))).round().astype(int)
    tiles = []
    for record in [record for place in places for record in volumes[place]]:
        try:
            tile = pixels.prepare_pixels(record.read(), adapter.anatomy, side_px)
        except Exception:  # noqa: BLE001 - `verify` says what is wrong with it
            tile = np.full((side_px, side_px), 0.5, np.float32)
        tiles.append(tile)
    longest = max(map(len, volumes))
    across = longest if 1 < longest <= ACROSS else ACROSS
    grid = (-(-len(tiles) // across), across)
    return (255 * montage(np.stack(tiles), fill=0, grid_shape=grid)).round().astype(np.uint8)


def _volumes(adapter: Adapter, root: Path, slices: int) -> list[list[Record]]:
    """List the images of a folder, those of one volume together."""
    volumes: dict[Path, list[Record]] = {}
    for record in _inventory(adapter, root, slices)[1]:
        volumes.setdefault(record.path, []).append(record)
    if not volumes:
        raise ValueError(f"{root}: no image to show")
    return list(volumes.values())
