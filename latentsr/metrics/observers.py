"""Searching whole images for inserted lesions: what is found, and what is marked where none is.

Two tasks. With the *background unknown* an observer has the image alone: every edge of the anatomy
competes with the lesion. With the *background known* it has the true image without the lesion too,
as if from an earlier visit, and searches the difference: what d' supposes, but for the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from latentsr.metrics.image import Floats
from latentsr.metrics.lesions import Images, Lesion, possible, reach_px

HR, LR_IDEAL, HR_IDEAL = (("", vae) for vae in ("HR", "LR ideal observer", "HR ideal observer"))
NEAR_PX = 2.0  # a detection so near to a lesion has found it
DRAWS = 10  # of image noise, for an image of the references
Detections = Floats  # (K, 3): response, row, column, the strongest first


def spot(sd_px: float) -> Floats:
    """Return a lesion with a peak of 1 on a window of three SD."""
    reach = reach_px(sd_px)
    return Lesion(0, reach, reach, sd_px, 1.0, 0.0).template(2 * reach + 1)


def spot_filter(sd_px: float) -> Floats:
    """Return the spot less its mean: its response to flat tissue is 0, to a spot its contrast."""
    shape = spot(sd_px)
    centred = shape - shape.mean()
    return np.asarray(centred / np.sum(centred * shape))


def hotelling_filter(sd_px: float, training: Images, seed: int, patches: int = 300) -> Floats:
    r"""Return the filter that anatomy disturbs least, learnt from lesion-free images ``(N, H, W)``.

    .. math:: w = K^{-1} s / (s^T K^{-1} s)

    with s the spot and K the covariance of patches less their mean, at most ``patches`` per image,
    from places where a lesion may be (Barrett and Myers 2004, section 13.2: Hotelling observer).
    """
    shape, reach = spot(sd_px), reach_px(sd_px)
    rng, samples = np.random.default_rng(seed), []
    for image in training.astype(np.float64):
        places = np.argwhere(possible(image, sd_px))
        inside = ((places >= reach) & (places < len(image) - reach)).all(1)
        y, x = rng.permutation(places[inside])[:patches].T
        windows = np.lib.stride_tricks.sliding_window_view(image, shape.shape)
        samples.append(windows[y - reach, x - reach].reshape(-1, shape.size))
    patch = np.concatenate(samples)  # (n, side * side)
    patch -= patch.mean(1, keepdims=True)
    covariance = patch.T @ patch / len(patch)
    scale = np.trace(covariance) / len(covariance)
    # the mean of a patch carries no information; a little white noise keeps K invertible
    covariance += 1e3 * scale / len(covariance) + 1e-4 * scale * np.eye(len(covariance))
    w = np.linalg.solve(covariance, shape.ravel()).reshape(shape.shape)
    return np.asarray(w / np.sum(w * shape))


def filter_response(image: Images | Floats, weights: Floats) -> Floats:
    """Return the response of a filter at every place of an image ``(H, W)``."""
    return np.asarray(ndimage.correlate(image.astype(np.float64), weights))


def ideal_response(difference: Floats, matrix: Floats, sd_px: float, noise_sd: float) -> Floats:
    r"""Return the response of the LR image's ideal observer to a spot at every place ``(H, W)``.

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
    degraded = matrix @ difference @ matrix.T
    return np.asarray(white.T @ degraded @ white / (noise_sd * np.outer(norm, norm)))


def detections(
    response: Floats, sd_px: float, where: NDArray[np.bool_] | None = None
) -> Detections:
    """Return the local maxima of a map of responses ``(H, W)``, the strongest first, ``(K, 3)``.

    A detection is a place, of those in ``where``, whose response no other within three SD exceeds;
    it holds response, row and column. Borders are searched as far as the window fits.
    """
    reach = reach_px(sd_px)
    peak = response == ndimage.maximum_filter(response, 2 * reach + 1)
    inside = np.zeros_like(peak)
    inside[reach:-reach, reach:-reach] = True
    rows, columns = np.nonzero(peak & inside & (True if where is None else where))
    order = np.argsort(-response[rows, columns], kind="stable")
    return np.stack([response[rows, columns], rows, columns], 1)[order]


def max_near(peaks: Detections, lesion: Lesion) -> float:
    """Return the strongest response within `NEAR_PX` of a lesion; -inf where none is."""
    close = np.hypot(peaks[:, 1] - lesion.row, peaks[:, 2] - lesion.column) <= NEAR_PX
    return float(peaks[close, 0].max(initial=-np.inf))


def threshold(negatives: Sequence[Detections], share: float) -> float:
    """Return the response above which ``share`` of these lesion-free images get a mark."""
    return float(np.quantile([peaks[:, 0].max(initial=-np.inf) for peaks in negatives], 1 - share))


@dataclass(frozen=True)
class Search:
    """What one observer detects in lesion-free images, and in images with a lesion each."""

    negatives: list[Detections]
    positives: list[Detections]
    lesions: list[Lesion]  # of the positives; their ``image`` is a row of the negatives

    def of_level(self, detectability: float) -> Search:
        """Return the search of the lesions of one d'."""
        rows = [k for k, s in enumerate(self.lesions) if s.detectability == detectability]
        positives, lesions = [self.positives[k] for k in rows], [self.lesions[k] for k in rows]
        return Search(self.negatives, positives, lesions)

    def false_marks(self, limit: float) -> NDArray[np.int_]:
        """Count the marks of each lesion-free image."""
        return np.array([np.sum(peaks[:, 0] > limit) for peaks in self.negatives])

    def hit_rate(self, limit: float, lesion_free: bool = False) -> float:
        """Return the share of lesions found, or of their places marked in lesion-free images."""
        images = [self.negatives[s.image] for s in self.lesions] if lesion_free else self.positives
        pairs = zip(images, self.lesions, strict=True)
        return float(np.mean([max_near(peaks, lesion) > limit for peaks, lesion in pairs]))

    def free_response(self, count: int = 40) -> list[tuple[float, float]]:
        """Return (false marks per image, share of lesions found), from one false mark to all.

        Free-response ROC (Chakraborty 2013), at ``count`` thresholds in even ratios of rank.

        >>> one = np.array([[0.3, 5.0, 6.0], [0.1, 20.0, 20.0]])
        >>> Search([one], [one], [Lesion(0, 5, 5, 1.0, 0.1, 1.0)]).free_response()
        [(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)]
        """
        false = np.sort(np.concatenate([peaks[:, 0] for peaks in self.negatives]))[::-1]
        if not len(false):
            return [(0.0, self.hit_rate(0.0))]
        ranks = np.unique(np.geomspace(1, len(false), count).round().astype(int))
        limits = [false[0], *np.nextafter(false[ranks - 1], -np.inf)]
        return [(float(np.sum(false > t) / len(self.negatives)), self.hit_rate(t)) for t in limits]


def search_background_known(
    images: Mapping[tuple[str, str], Images],
    lesions: Sequence[Lesion],
    matrix: Floats,
    noise_sd: float,
    seed: int,
) -> dict[tuple[str, str], Search]:
    """Search the difference from the true lesion-free image for lesions, all of one size.

    ``images`` by (arm, autoencoder), `HR` among them, ``(n_negatives + n_lesions, H, W)`` each:
    lesion-free, then one per lesion. Arms are as they are. Three references see ``DRAWS`` draws of
    the true image's noise: HR under the filter, and the ideal observers of LR and of HR, whose
    responses are d' and no contrasts.
    """
    sd_px, hr = lesions[0].sd_px, images[HR].astype(np.float64)
    n_negatives, identity = len(hr) - len(lesions), np.eye(hr.shape[-1])
    twins = hr[[*range(n_negatives), *(lesion.image for lesion in lesions)]]
    regions = [possible(one, sd_px) for one in images[HR][:n_negatives]] + [None] * len(lesions)
    weights = spot_filter(sd_px)
    searches: dict[tuple[str, str], Search] = {}

    def add(key: tuple[str, str], responses: Iterable[Floats]) -> None:
        peaks = list(map(detections, responses, repeat(sd_px), regions))
        search = searches.setdefault(key, Search([], [], []))
        search.negatives.extend(peaks[:n_negatives])
        search.positives.extend(peaks[n_negatives:])
        search.lesions.extend(lesions)

    for key, stack in images.items():
        if key != HR:
            add(key, (filter_response(one, weights) for one in stack - twins))
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        noisy = noise_sd * rng.normal(size=hr.shape) + (hr - twins)
        add(HR, (filter_response(one, weights) for one in noisy))
        add(LR_IDEAL, (ideal_response(one, matrix, sd_px, noise_sd) for one in noisy))
        add(HR_IDEAL, (ideal_response(one, identity, sd_px, noise_sd) for one in noisy))
    return searches


def auroc(scores: Floats, is_sought: NDArray[np.bool_]) -> float:
    """Return the chance that a place sought scores higher than another; nan where either lacks."""
    from sklearn.metrics import roc_auc_score

    if is_sought.all() or not is_sought.any():
        return float("nan")
    return float(roc_auc_score(is_sought, scores))


def auroc_at_lesion(scores: Floats, image: Images, lesion: Lesion) -> float:
    """Return the AUROC of a lesion's place among all places of its image where one could be.

    ``scores`` ``(H, W)`` are averaged with the lesion's own Gaussian first; places within three SD
    of it count as neither.
    """
    smooth = ndimage.gaussian_filter(scores, lesion.sd_px)
    rows, columns = np.nonzero(possible(image, lesion.sd_px))
    far = np.hypot(rows - lesion.row, columns - lesion.column) > 3 * lesion.sd_px
    others = smooth[rows[far], columns[far]]
    values = np.array([smooth[lesion.row, lesion.column], *others])
    return auroc(values, np.arange(len(values)) == 0)


def auroc_at_false_positives(
    scores: Floats, sr: Images, hr: Images, sd_px: float, contrast: float
) -> tuple[float, int]:
    """Return the AUROC of an image's false positives among its other places, and their number.

    A false positive is a local maximum where `spot_filter` responds by ``contrast`` more in SR than
    in HR, as it would to an inserted lesion; as strong places beside one count as neither.
    """
    smooth, where = ndimage.gaussian_filter(scores, sd_px), possible(hr, sd_px)
    added = filter_response(sr - hr.astype(np.float64), spot_filter(sd_px))
    peaks = detections(added, sd_px, where)
    rows, columns = peaks[peaks[:, 0] > contrast, 1:].astype(int).T
    others = smooth[where & (added <= contrast)]
    values = np.concatenate([smooth[rows, columns], others])
    return auroc(values, np.arange(len(values)) < len(rows)), len(rows)
