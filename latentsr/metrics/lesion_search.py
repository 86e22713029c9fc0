"""Searching whole images for planted lesions: what is found, and what is marked where none is.

Two readers. The *blind* one has the image alone: every edge of the anatomy is a rival of the
lesion. The one who *knows the anatomy* has the true image without the lesion too, as if from an
earlier visit, and searches the difference: the knowledge that d' supposes, but for the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr.metrics.image import Floats
from latentsr.metrics.lesions import Lesion, possible
from latentsr.stats import intervals as stats

Images = NDArray[np.float32]
Trial = Mapping[tuple[str, str], Images]  # by (arm, autoencoder): lesion-free, then one a lesion
HR, LR_IDEAL, HR_IDEAL = (("", vae) for vae in ("HR", "LR ideal observer", "HR ideal observer"))
REACH_PX = 2.0  # a mark so near to a lesion has found it
DRAWS = 10  # of image noise, for an image of the two references
Marks = Floats  # (K, 3): answer, row, column, the strongest first


def _reach(sd_px: float) -> int:
    return max(1, round(3 * sd_px))


def spot(sd_px: float) -> Floats:
    """Return a lesion with a peak of 1 on a window of three SD."""
    reach = _reach(sd_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * sd_px**2)))


def spot_filter(sd_px: float) -> Floats:
    """Return the spot less its mean: flat tissue answers with 0, a spot of contrast c with c."""
    shape = spot(sd_px)
    filtered = shape - shape.mean()
    return np.asarray(filtered / np.sum(filtered * shape))


def hotelling_filter(sd_px: float, training: Images, seed: int, patches: int = 300) -> Floats:
    r"""Return the filter that anatomy disturbs least, learnt from lesion-free images ``(N, H, W)``.

    .. math:: w = K^{-1} s / (s^T K^{-1} s)

    with s the spot and K the covariance of patches less their mean, at most ``patches`` an image,
    from places where a lesion may be (Barrett and Myers 2004, section 13.2: Hotelling observer).
    """
    shape = spot(sd_px)
    side, reach = len(shape), _reach(sd_px)
    rng, rows = np.random.default_rng(seed), []
    for image in training.astype(np.float64):
        places = np.argwhere(possible(image, sd_px))
        inside = ((places >= reach) & (places < len(image) - reach)).all(1)
        y, x = rng.permutation(places[inside])[:patches].T
        windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))
        rows.append(windows[y - reach, x - reach].reshape(-1, side * side))
    found = np.concatenate(rows)
    found -= found.mean(1, keepdims=True)
    covariance = found.T @ found / len(found)
    scale = np.trace(covariance) / len(covariance)
    # the mean of a patch carries no information; a little white noise keeps K invertible
    covariance += 1e3 * scale / len(covariance) + 1e-4 * scale * np.eye(len(covariance))
    w = np.linalg.solve(covariance, shape.ravel()).reshape(shape.shape)
    return np.asarray(w / np.sum(w * shape))


def answers(image: Images | Floats, weights: Floats) -> Floats:
    """Return the answer of a filter at every place of an image ``(H, W)``."""
    from scipy import ndimage

    return np.asarray(ndimage.correlate(image.astype(np.float64), weights))


def ideal_answers(difference: Floats, matrix: Floats, sd_px: float, noise_sd: float) -> Floats:
    r"""Return the answer of the LR image's ideal observer to a spot at every place ``(H, W)``.

    .. math:: s_p^T \Sigma^{-1} D g / \sqrt{s_p^T \Sigma^{-1} s_p}

    with g what differs from the known background in the HR image (lesion and noise), D the
    degradation (``matrix`` along both axes), :math:`s_p` the degraded spot at p. Its SD is 1, and
    at a lesion's place its mean is the lesion's d' (`lesions.detectability`). With the identity
    for ``matrix`` it is the HR image's ideal observer, and d' the larger one of that image.
    """
    place = np.arange(len(difference))
    lines = matrix @ np.exp(-((place[:, None] - place) ** 2) / (2 * sd_px**2))  # (short, long)
    white = np.linalg.solve(matrix @ matrix.T, lines)
    norm = np.sqrt((lines * white).sum(0))
    seen = matrix @ difference @ matrix.T
    return np.asarray(white.T @ seen @ white / (noise_sd * np.outer(norm, norm)))


def marks(seen: Floats, sd_px: float, where: NDArray[np.bool_] | None = None) -> Marks:
    """Return the marks of a map of answers ``(H, W)``, the strongest first, ``(K, 3)``.

    A mark is a place, of those in ``where``, whose answer no other within three SD exceeds; it
    holds answer, row and column. Borders are searched as far as the window fits.
    """
    from scipy import ndimage

    reach = _reach(sd_px)
    best = seen == ndimage.maximum_filter(seen, 2 * reach + 1)
    best[:reach], best[-reach:], best[:, :reach], best[:, -reach:] = False, False, False, False
    rows, columns = np.nonzero(best if where is None else best & where)
    order = np.argsort(-seen[rows, columns], kind="stable")
    return np.stack([seen[rows, columns], rows, columns], 1)[order]


def threshold(free: Sequence[Marks], share: float) -> float:
    """Return the answer above which ``share`` of these lesion-free images get a mark."""
    return float(np.quantile([found[:, 0].max(initial=-np.inf) for found in free], 1 - share))


def near(found: Marks, lesion: Lesion, reach_px: float = REACH_PX) -> float:
    """Return the strongest answer of the marks within reach of a lesion; -inf where none is."""
    close = np.hypot(found[:, 1] - lesion.row, found[:, 2] - lesion.column) <= reach_px
    return float(found[close, 0].max(initial=-np.inf))


def free_response(
    free: Sequence[Marks],
    present: Sequence[Marks],
    planted: Sequence[Lesion],
    thresholds: Sequence[float],
    reach_px: float = REACH_PX,
) -> list[tuple[float, float]]:
    """Return (false marks an image, share of lesions found) at each threshold.

    ``free`` are the marks of images without lesion, ``present`` those of ``planted``'s images; a
    lesion is found by a mark within ``reach_px``. Chakraborty 2013: free-response ROC.

    >>> spot = Lesion(0, 5, 5, 1.0, 0.1, 1.0)
    >>> one = np.array([[0.3, 5.0, 6.0], [0.1, 20.0, 20.0]])
    >>> free_response([one], [one], [spot], [0.2, 0.05, 0.4])
    [(1.0, 1.0), (2.0, 1.0), (0.0, 0.0)]
    """
    hits = np.array([near(m, s, reach_px) for m, s in zip(present, planted, strict=True)])
    false = np.concatenate([found[:, 0] for found in free])
    return [(float(np.sum(false > t) / len(free)), float(np.mean(hits > t))) for t in thresholds]


def _steps(free: Sequence[Marks], count: int = 40) -> list[float]:
    """Choose thresholds: from one false mark in all images to every one, in even ratios."""
    false = np.sort(np.concatenate([found[:, 0] for found in free]))[::-1]
    if not len(false):
        return [0.0]
    ranks = np.unique(np.geomspace(1, len(false), count).round().astype(int))
    return [float(false[0]), *(float(np.nextafter(false[rank - 1], -np.inf)) for rank in ranks)]


def _read(
    images: Trial, spots: Sequence[Lesion], free: int, matrix: Floats, noise_sd: float, seed: int
) -> Iterator[tuple[tuple[str, str], list[Marks], list[Marks], list[Lesion]]]:
    """Yield the marks of each arm, then of the references: lesion-free, with a lesion, which.

    All ``spots`` are of one size. The references see the true image's noise, each image ``DRAWS``
    times; the arms are as they are.
    """
    sd_px, hr = spots[0].sd_px, images[HR].astype(np.float64)
    where = [possible(images[HR][k], sd_px) for k in range(free)]
    weights = spot_filter(sd_px)
    for key, stack in images.items():
        if key != HR:
            none = [marks(answers(stack[k] - hr[k], weights), sd_px, where[k]) for k in range(free)]
            off = ((stack[free + k] - hr[s.image]) for k, s in enumerate(spots))
            yield key, none, [marks(answers(one, weights), sd_px) for one in off], list(spots)
    rng, side = np.random.default_rng(seed), hr.shape[-1]
    drawn: dict[tuple[str, str], tuple[list[Marks], list[Marks]]] = {
        key: ([], []) for key in (HR, LR_IDEAL, HR_IDEAL)
    }
    ideals = matrix, np.eye(side)
    signals = [*range(free), *spots]
    for _ in range(DRAWS):
        for place, what in enumerate(signals):
            seen = noise_sd * rng.normal(size=(side, side))
            region = where[what] if isinstance(what, int) else None
            if not isinstance(what, int):
                seen += hr[place] - hr[what.image]
            maps = [ideal_answers(seen, kept, sd_px, noise_sd) for kept in ideals]
            for found, one in zip(drawn.values(), [answers(seen, weights), *maps], strict=True):
                found[region is None].append(marks(one, sd_px, region))
    for key, (none, present) in drawn.items():
        yield key, none, present, list(spots) * DRAWS


def known_anatomy(
    images: Trial,
    spots: Sequence[Lesion],
    free: int,
    *,
    matrix: Floats,
    noise_sd: float,
    false_share: float,
    seed: int,
    confidence: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search what differs from the true lesion-free image, size by size.

    ``images`` hold ``free`` lesion-free images, then one a lesion of ``spots``. The limit is one
    for all arms: ``false_share`` of the lesion-free HR images, which differ from themselves by
    their noise of SD ``noise_sd``, get a mark. The ideal observers of LR and HR, whose answers are
    d' and no contrasts, have their own by the same rule.

    Returns
    -------
    table : DataFrame
        A row an arm, autoencoder, size and d': limit, marked (share of lesion-free images with a
        mark), false (marks a lesion-free image, with low and high over subjects), found (share of
        lesions), found_without (the same places in the images without the lesion: chance).
    curves : DataFrame
        Free-response curves: false and found, by the same keys.
    """
    rows, curves = [], []
    for sd_px in sorted({s.sd_px for s in spots}):
        places = [k for k, s in enumerate(spots) if s.sd_px == sd_px]
        order = [*range(free), *(free + k for k in places)]
        part = {key: stack[order] for key, stack in images.items()}
        read = list(_read(part, [spots[k] for k in places], free, matrix, noise_sd, seed))
        limits = {key: threshold(none, false_share) for key, none, *_ in read if key[0] == ""}
        for key, none, present, which in read:
            limit = limits[key if key in (LR_IDEAL, HR_IDEAL) else HR]
            counts = np.array([np.sum(found[:, 0] > limit) for found in none]).reshape(-1, free)
            means = counts.mean(0)  # (free,), over draws of noise
            low, high, _ = stats.mean_interval(means, seed, confidence)
            whole = {"arm": key[0], "vae": key[1], "sd_px": sd_px, "limit": limit}
            whole |= {"marked": float((counts > 0).mean()), "false": means.mean()}
            whole |= {"low": max(low, 0.0), "high": high}  # t's interval knows no bounds
            for level in sorted({s.detectability for s in which}):
                at = [k for k, s in enumerate(which) if s.detectability == level]
                chosen = [which[k] for k in at], [present[k] for k in at]
                hit = np.mean([near(m, s) > limit for s, m in zip(*chosen, strict=True)])
                twin = np.mean([near(none[s.image], s) > limit for s in chosen[0]])
                n_lesions = len(at) // (len(none) // free)
                rows.append({**whole, "detectability": level, "found": hit, "found_without": twin,
                             "n_subjects": free, "n_images": free, "n_lesions": n_lesions})  # fmt: skip
                line = free_response(none, chosen[1], chosen[0], _steps(none))
                curve = pd.DataFrame(line, columns=["false", "found"])
                curve = curve.assign(arm=key[0], vae=key[1], sd_px=sd_px, detectability=level)
                curves.append(curve.assign(n_subjects=free, n_images=free))
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


def blind(
    hr: Images,
    spots: Sequence[Lesion],
    free: int,
    *,
    training: Images,
    test: Images,
    false_share: float,
    seed: int,
) -> pd.DataFrame:
    """Search true images with the image alone; a row a size and filter, spot or Hotelling.

    ``hr`` holds ``free`` lesion-free images, then one a lesion of ``spots``; the filter is learnt
    from ``training``, the limit (a contrast) is set so that ``false_share`` of the lesion-free
    ``test`` images get a mark. ``found`` is the share of the most detectable lesions found;
    ``needed`` is the d' at which half of the places planted would be marked, from the answer there
    without a lesion: answers are linear in the contrast.
    """
    rows = []
    for sd_px in sorted({s.sd_px for s in spots}):
        for name in ("spot", "Hotelling"):
            learnt = name == "Hotelling"
            weights = hotelling_filter(sd_px, training, seed) if learnt else spot_filter(sd_px)

            def read(
                image: Images, anatomy: Images, w: Floats = weights, sd: float = sd_px
            ) -> Marks:
                return marks(answers(image, w), sd, possible(anatomy, sd))

            limit = threshold([read(image, image) for image in test], false_share)
            mine = [(free + k, s) for k, s in enumerate(spots) if s.sd_px == sd_px]
            top = max(s.detectability for _, s in mine)
            few = [(k, s) for k, s in mine if s.detectability == top]
            plain = [answers(hr[s.image], weights)[s.row, s.column] for _, s in few]
            units = [s.contrast / s.detectability for _, s in few]
            needed = [(limit - a) / unit for a, unit in zip(plain, units, strict=True)]
            hits = [near(read(hr[k], hr[s.image]), s) > limit for k, s in few]
            rows.append({"sd_px": sd_px, "filter": name, "limit": limit, "top": top,
                         "contrast": np.mean([s.contrast for _, s in few]), "found": np.mean(hits),
                         "needed": np.median(needed), "n_lesions": len(few),
                         "n_subjects": len({s.image for _, s in few}), "n_images": len(few),
                         "n_test_images": len(test)})  # fmt: skip
    return pd.DataFrame(rows)
