"""The tests of chapter 8: the gap of two arms by set and arm, against interpolation, over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr import io as scores
from latentsr.stats import intervals as stats
from latentsr.stats import paired as paired_tests
from latentsr.stats.paired_intervals import paired_interval, pooled_d

Pair = tuple[str, str]  # the main autoencoders, first and second
PROTOCOLS = ("released", "lr_pixels")  # the paper's, and controlled throughout
CHANGE = "released - lr_pixels"
GEOMETRY = "geometry: lr_latent - lr_pixels"


def summarised(
    pair: pd.DataFrame, *, margin_db: float, seed: int, confidence: float
) -> dict[str, Any]:
    """Summarise b minus a of ``pair``, the images of `scores.paired`, over subjects.

    To `paired_tests.PairedSummary` come ``first`` and ``second``, the means of a and b; d_low, d_high and
    d_method of pooled d (`paired_interval`); equivalence_p within ``margin_db``; detectable_db;
    and, where subjects have several images, mixed_low and mixed_high, the Wald interval of
    `stats.mixed_mean`, beside t_low and t_high, Student's t on the means of subjects.
    """
    a, b, subjects = pair["a"], pair["b"], list(pair["subject_id"])
    x, y = (stats.subject_means(side, subjects) for side in (a, b))
    found: dict[str, Any] = {"first": float(x.mean()), "second": float(y.mean())}
    found |= vars(paired_tests.paired_summary(b, a, subjects, seed, confidence))
    ends = paired_interval(pooled_d, y, x, seed, confidence)
    found |= dict(zip(("d_low", "d_high", "d_method"), ends, strict=True))
    found["equivalence_p"] = paired_tests.equivalence_p(y, x, margin_db)
    found["detectable_db"] = paired_tests.minimum_detectable(y - x)
    mixed = stats.mixed_mean(b - a, subjects, confidence)
    found |= dict(zip(("mixed_low", "mixed_high", "between_share"), mixed[1:], strict=True))
    several = np.isfinite(mixed[0])
    t = stats.t_interval(y - x, confidence) if several else (np.nan, np.nan)
    return found | dict(zip(("t_low", "t_high"), t, strict=True))


def by_arm(
    scored: pd.DataFrame, arms: Sequence[str], main: Pair, measures: Sequence[str],
    **how: Any,
) -> pd.DataFrame:  # fmt: skip
    """Test the gap of the main autoencoders by measure, set and arm; ``how`` as for `summarised`."""
    rows = []
    places = [(m, n, k) for m in measures for n in dict.fromkeys(scored["dataset"]) for k in arms]
    for measure, name, arm in places:
        cell = scored[(scored["dataset"] == name) & (scored["arm"] == arm)]
        found = summarised(scores.paired(cell, "vae", main[0], main[1], measure), **how)
        rows.append({"measure": measure, "dataset": name, "arm": arm, **found})
    return pd.DataFrame(rows)


def of_protocols(
    scored: pd.DataFrame, pair: Pair, arms: Pair = PROTOCOLS, named: str = CHANGE, **how: Any
) -> pd.DataFrame:
    """Test the gap of a pair under one of two arms minus that under the other, by subject.

    A row a set, its arm ``named``; ``first`` is the gap under the second arm (``lr_pixels``),
    ``second`` that under the first (``released``). Empty where one of the two was not run.
    """
    rows = []
    for name, cells in scored.groupby("dataset", sort=False):
        if not set(arms) <= set(cells["arm"]):
            continue
        gaps = []
        for arm in arms:
            both = scores.paired(cells[cells["arm"] == arm], "vae", pair[0], pair[1], "psnr_db")
            gaps.append(both.assign(gap=both["b"] - both["a"]))
        change = gaps[1].assign(a=gaps[1]["gap"], b=gaps[0]["gap"])
        keys = {"measure": "psnr_db", "dataset": name, "arm": named}
        rows.append({**keys, **summarised(change, **how)})
    return pd.DataFrame(rows)


def of_geometry(scored: pd.DataFrame, corners: Sequence[str], **how: Any) -> pd.DataFrame:
    """Test whether the LR condition changes the effect of geometry alone, domain kept at natural.

    The natural f4 autoencoder less the natural f8 one (``corners`` are those of
    `registry.design_cells`) under ``lr_latent``, all else controlled, minus the same under
    ``lr_pixels``. Empty without the four corners.
    """
    if not corners:
        return pd.DataFrame()
    pair = corners[0], corners[2]
    return of_protocols(scored, pair, ("lr_latent", "lr_pixels"), GEOMETRY, **how)


def over_bicubic(
    scored: pd.DataFrame, baselines: pd.DataFrame, arms: Sequence[str], main: Pair,
    **how: Any,
) -> pd.DataFrame:  # fmt: skip
    """Test each main arm against bicubic interpolation: PSNR of the arm minus bicubic's."""
    plain = baselines[baselines["method"] == "bicubic"].assign(vae="bicubic")
    rows = []
    for name in dict.fromkeys(scored["dataset"]):
        for arm, vae in [(arm, vae) for arm in arms for vae in main]:
            cell = scored.query("dataset == @name and arm == @arm and vae == @vae")
            both = pd.concat([cell, plain[plain["dataset"] == name]])
            pair = scores.paired(both, "vae", "bicubic", vae, "psnr_db")
            keys = {"dataset": name, "arm": arm, "vae": vae}
            rows.append({**keys, **summarised(pair, **how)})
    return pd.DataFrame(rows)


def in_families(gaps: pd.DataFrame, others: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add columns family and holm_p: p-values of one family are adjusted together.

    *Primary* is the gap under both protocols, against the true image and (claim C1) against the
    own decode, the change between them, and that of geometry alone between LR conditions; all
    else, ``others`` among it, is *secondary*.
    """
    primary = gaps["arm"].isin([*PROTOCOLS, CHANGE, GEOMETRY])
    gaps = gaps.assign(family=np.where(primary, "primary", "secondary"), holm_p=np.nan)
    others = others.assign(family="secondary", holm_p=np.nan)
    for family in ("primary", "secondary"):
        tables = [(t, t.index[(t["family"] == family) & t["wilcoxon_p"].notna()])
                  for t in (gaps, others)]  # fmt: skip
        p = np.concatenate([table.loc[rows, "wilcoxon_p"] for table, rows in tables])
        adjusted = paired_tests.holm(p) if len(p) else p
        for table, rows in tables:
            table.loc[rows, "holm_p"], adjusted = adjusted[: len(rows)], adjusted[len(rows) :]
    return gaps, others


def over_steps(
    steps: pd.DataFrame, main: Pair, counts_from: int, margin_db: float, seed: int,
    confidence: float = 0.90,
) -> pd.DataFrame:  # fmt: skip
    """Measure how the gap changes from the longest walk to each shorter one, paired by image.

    ``steps`` are per-image scores of walks of T network calls. A row a T: mean, low, high,
    n_subjects, n_images; ``verdict`` is "within" the margin where the whole 90% interval is, as of
    two one-sided tests at 5%, "beyond" where it lies outside, else "inconclusive"; ``counts`` says
    whether T reaches ``counts_from``.
    """
    walks = {T: steps[steps["T"] == T] for T in sorted({int(T) for T in steps["T"]})}
    pairs = {
        T: scores.paired(rows, "vae", main[0], main[1], "psnr_db") for T, rows in walks.items()
    }
    longest, rows = pairs.pop(max(pairs)), []
    for T, pair in pairs.items():
        d = (pair["b"] - pair["a"]) - (longest["b"] - longest["a"]).loc[pair.index]
        means = stats.subject_means(d, list(pair["subject_id"]))
        low, high, _ = stats.mean_interval(means, seed, confidence)
        within = max(abs(low), abs(high)) < margin_db
        verdict = "within" if within else "inconclusive"
        verdict = "beyond" if low > margin_db or high < -margin_db else verdict
        row: dict[str, Any] = {
            "T": T,
            "mean": means.mean(),
            "low": low,
            "high": high,
            "n_subjects": len(means),
        }
        row |= {"n_images": len(pair), "verdict": verdict if low == low else stats.DESCRIPTIVE}
        rows.append({**row, "counts": T >= counts_from})
    return pd.DataFrame(rows)


def farthest(changes: pd.DataFrame, margin_db: float) -> Mapping[str, Any] | None:
    """Return the row of `over_steps` that lies farthest out, with the margin; None of none."""
    if changes.empty:
        return None
    far = int(np.argmax(changes[["mean", "low", "high"]].abs().max(axis=1)))
    keys = ("T", "mean", "low", "high", "n_subjects", "n_images")
    return {key: float(changes[key].iloc[far]) for key in keys} | {"margin": margin_db}
