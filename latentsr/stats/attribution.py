"""What a gap is made of: target and condition, domain, resolution and budget, protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr import io as scores
from latentsr.autoencoders import registry
from latentsr.stats import intervals as stats
from latentsr.stats import paired as paired_tests

ASTRAY = 1.2  # smoothed loss at the end over its lowest: the arm says nothing of its autoencoder
CONDITIONS = ("latent of {0}", "latent of {1}", "upsampled_latent", "lr_pixels")
WORDS = {  # of `stats.factorial`: what they mean when target and condition are crossed
    "domain": "target",
    "geometry": "condition",
    "interaction": "interaction",
    "domain_at_f8": "target, seeing the first's latent",
    "domain_at_f4": "target, seeing the second's latent",
    "geometry_at_natural": "condition, denoising the first's latent",
    "geometry_at_phantom": "condition, denoising the second's latent",
    "gap": "gap",
}


def _subject_means(rows: pd.DataFrame, measure: str) -> pd.Series:
    if rows.empty or rows["image_id"].duplicated().any():
        raise ValueError(f"an arm has {len(rows)} rows; one an image is needed")
    return rows.groupby("subject_id")[measure].mean()


def levels(
    scored: pd.DataFrame, vaes: Sequence[str], arms: Sequence[str], measures: Iterable[str]
) -> pd.DataFrame:
    """Return subject means by dataset, vae and arm, in the order given; arms not there are left out.

    A measure that a set does not have, as real images have no noise-free twin, is NaN.
    """
    rows, keys = scored[scored["vae"].isin(vaes) & scored["arm"].isin(arms)], list(measures)
    found = []
    for _, one in rows.groupby("dataset", sort=False):
        there = [key for key in keys if key in one and one[key].notna().any()]
        found.append(scores.subject_mean(one, ["dataset", "vae", "arm"], there))
    means = pd.concat(found).reindex(columns=keys)
    names = means.index.unique("dataset")
    order = [(name, vae, arm) for name in names for vae in vaes for arm in arms]
    return means.loc[[row for row in order if row in means.index]]


def seen(scored: pd.DataFrame, main_vaes: Sequence[str]) -> pd.DataFrame:
    """Keep the arms of target x condition; a column ``seen`` says what each denoiser sees.

    ``scored`` is the per-image table of chapter 3's arms on the common grid, the crossed ones
    among them; the two LR latents are named after the autoencoder that made them.
    """
    rows = scored[scored["vae"].isin(main_vaes) & (scored["grid"] == "common")]
    latent = "latent of " + rows["condition_vae"]
    return rows.assign(seen=rows["lr_condition"].where(rows["lr_condition"] != "lr_latent", latent))


def target_and_condition(
    rows: pd.DataFrame,
    main_vaes: Sequence[str],
    seed: int,
    confidence: float = 0.95,
    measure: str = "psnr_db",
) -> pd.DataFrame:
    """Split the gap of one set into target and condition, by the 2 x 2 of LR latents.

    Parameters
    ----------
    rows : DataFrame
        Of `seen`, one set.
    main_vaes : (str, str)
        First and second; the gap is second minus first, each seeing its own LR latent.

    Returns
    -------
    DataFrame
        ``effect``, estimate, low, high, interval_method. Target (averaged over what is seen) and
        condition (averaged over what is denoised) add up to the gap; the interaction is how much
        more the second target gains by the second's condition.
    """
    first, second = main_vaes
    cells = [
        _subject_means(rows[(rows.vae == target) & (rows.seen == f"latent of {shown}")], measure)
        for shown in (first, second)
        for target in (first, second)
    ]
    found = stats.factorial(cells[0], cells[1], cells[2], cells[3], seed, confidence)
    found = found.rename(index=WORDS)
    return found.rename_axis("effect").reset_index()


def domain_and_geometry(
    rows: pd.DataFrame,
    corners: Sequence[str],
    seed: int,
    confidence: float = 0.95,
    measure: str = "psnr_db",
    by: str = "vae",
) -> pd.DataFrame:
    """Split the gap of four corners into domain, geometry and interaction, by `stats.factorial`.

    Parameters
    ----------
    rows : DataFrame
        Per-image rows of one arm of all four, one set; the column ``by`` names the autoencoder.
    corners : sequence of str
        Those of `registry.design_cells`.

    Returns
    -------
    DataFrame
        ``effect``, estimate, low, high, interval_method, n_subjects.
    """
    cells = [_subject_means(rows[rows[by] == vae], measure) for vae in corners]
    found = stats.factorial(cells[0], cells[1], cells[2], cells[3], seed, confidence)
    return found.rename_axis("effect").reset_index().assign(n_subjects=len(cells[0]))


def budget_paths(
    scored: pd.DataFrame,
    arms: Sequence[str],
    seed: int,
    confidence: float = 0.95,
    measure: str = "psnr_db",
) -> pd.DataFrame:
    """Split the gap of one set into domain, resolution and budget, along both paths (claim R4).

    Domain first goes from natural f8 over phantom f8 and phantom f4 with one channel to phantom
    f4; geometry first changes the domain last. An f4 latent of one channel holds as many
    numbers as an f8 latent of four: resolution and budget are apart.

    Parameters
    ----------
    scored : DataFrame
        Per-image table of one set, one LR condition.
    arms : sequence of str
        The autoencoders in it.

    Returns
    -------
    DataFrame
        ``part``, ``path`` ("domain first", "geometry first", their "mean", and "interaction", the
        first minus the second), estimate, low, high, interval_method. Empty where an arm is
        missing; a single path where only one is there.
    """
    columns = ["part", "path", "estimate", "low", "high", "interval_method"]
    if not (corners := registry.design_cells(arms)):
        return pd.DataFrame(columns=columns)
    natural_8, phantom_8, natural_4, phantom_4 = corners
    narrow = registry.one_channel(corners)
    paths = {
        "domain first": [
            ("domain", natural_8, phantom_8),
            ("resolution", phantom_8, narrow[1]),
            ("budget", narrow[1], phantom_4),
        ],
        "geometry first": [
            ("domain", natural_4, phantom_4),
            ("resolution", natural_8, narrow[0]),
            ("budget", narrow[0], natural_4),
        ],
    }
    means = {vae: _subject_means(rows, measure) for vae, rows in scored.groupby("vae")}
    found: list[dict[str, object]] = []
    for part in ("domain", "resolution", "budget"):
        differences: dict[str, np.ndarray] = {}
        for path, steps in paths.items():
            start, end = next(step[1:] for step in steps if step[0] == part)
            if start in means and end in means:
                pair = means[end].sub(means[start])
                differences[path] = stats.measured(pair)
        if len(differences) == 2:
            one, other = differences.values()
            differences |= {"mean": (one + other) / 2, "interaction": one - other}
        for path, d in differences.items():
            ends = stats.mean_interval(d, seed, confidence)
            found.append(dict(zip(columns, (part, path, float(d.mean()), *ends), strict=True)))
    return pd.DataFrame(found, columns=columns)


def gaps(
    arms: Mapping[str, pd.DataFrame],
    main_vaes: Sequence[str],
    seed: int,
    confidence: float = 0.95,
    measure: str = "psnr_db",
    by: str = "vae",
) -> pd.DataFrame:
    """Return the gap of the main autoencoders in each of some arms, and both arms' means.

    Columns arm, first, second, gap, low, high, n_subjects, n_images.

    ``arms`` maps a name to the per-image rows of that arm of both, for one set; the column ``by``
    says which of the two a row belongs to.
    """
    found = []
    for name, rows in arms.items():
        pair = scores.paired(rows, by, main_vaes[0], main_vaes[1], measure)
        summary = paired_tests.paired_summary(
            pair["b"], pair["a"], list(pair["subject_id"]), seed, confidence
        )
        first, second = (_subject_means(rows[rows[by] == vae], measure).mean() for vae in main_vaes)
        sizes = {"first": first, "second": second, "gap": summary.mean_difference}
        ends = {"low": summary.low, "high": summary.high}
        counts = {"n_subjects": summary.n_subjects, "n_images": summary.n_images}
        found.append({"arm": name, **sizes, **ends, **counts})
    return pd.DataFrame(found)


def against_base(
    scored: pd.DataFrame, seed: int, confidence: float = 0.95, measure: str = "psnr_db"
) -> pd.DataFrame:
    """Return what each arm is above the arm called ``base``, paired by image, over subjects.

    ``scored`` holds one set and one base; columns arm, lever (what stands before the colon), gap,
    low, high, and how many times the base's operations the arm takes in training and an image.
    """
    found, work = [], scored.groupby("arm")[["train_tflop", "image_gflop"]].first()
    times = work / work.loc["base"]
    for name in [name for name in dict.fromkeys(scored["arm"]) if name != "base"]:
        pair = scores.paired(scored, "arm", "base", name, measure)
        summary = paired_tests.paired_summary(
            pair["b"], pair["a"], list(pair["subject_id"]), seed, confidence
        )
        ends = {"gap": summary.mean_difference, "low": summary.low, "high": summary.high}
        costs = {"train_times": times.train_tflop[name], "image_times": times.image_gflop[name]}
        found.append({"arm": name, "lever": name.partition(":")[0], **ends, **costs})
    return pd.DataFrame(found)


def dominance(
    scored: pd.DataFrame, seed: int, confidence: float = 0.95, measure: str = "psnr_db"
) -> dict[str, Any]:
    """Say how much more the autoencoder moves an arm than the largest other lever, by subject.

    ``scored`` as for `against_base`. The largest lever is chosen from these very images, so the
    interval is too kind to it; "at these step sizes" belongs to every use of the figure.
    """
    base = _subject_means(scored[scored.arm == "base"], measure)
    moved = {
        str(arm): _subject_means(rows, measure) - base
        for arm, rows in scored.groupby("arm", sort=False)
        if arm != "base"
    }
    (swap,) = [arm for arm in moved if arm.startswith("autoencoder")]
    other = max((arm for arm in moved if arm != swap), key=lambda arm: abs(moved[arm].mean()))
    towards = {arm: moved[arm] * np.sign(moved[arm].mean()) for arm in (swap, other)}
    d = stats.measured(towards[swap] - towards[other])
    low, high, _ = stats.mean_interval(d, seed, confidence)
    ends = {"mean": float(d.mean()), "low": low, "high": high, "n_subjects": len(d)}
    return {**ends, "largest_other": other}


def with_interval(mean: float, low: float, high: float, unit: str = "") -> str:
    """Write an effect with its interval, where there is one.

    >>> with_interval(1.804, 1.68, 1.94), with_interval(0.5, float("nan"), float("nan"), " dB")
    ('+1.80 [+1.68, +1.94]', '+0.50 dB')
    """
    ends = f" [{low:+.2f}, {high:+.2f}]" if low == low else ""
    return f"{mean:+.2f}{unit}{ends}"


def in_text(table: pd.DataFrame, index: Sequence[str], columns: str) -> pd.DataFrame:
    """Write estimates with their intervals, ``index`` down and ``columns`` across.

    >>> table = pd.DataFrame({"effect": "gap", "set": ["a", "b"], "estimate": [1.0, 2.0]})
    >>> in_text(table.assign(low=[0.5, np.nan], high=[2.0, np.nan]), ["effect"], "set").loc["gap"].tolist()
    ['+1.00 [+0.50, +2.00]', '+2.00']
    """
    told = list(map(with_interval, table["estimate"], table["low"], table["high"]))
    text = table.assign(text=told)
    wide = text.pivot_table("text", list(index), columns, aggfunc="first", sort=False)
    return wide.rename_axis(columns=None)
