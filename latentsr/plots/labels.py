"""Short labels of arms, measures and sets for figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CONDITION_LABELS = {  # as they stand beside a panel
    "released": "as released\n(walk spaced)",
    "lr_latent": "LR latent\n(the released way)",
    "upsampled_latent": "latent of\nupsampled LR",
    "lr_pixels": "LR pixels\n(controlled)",
}
ARM_LABELS = CONDITION_LABELS | {
    "longer": "LR pixels, longer",
    "second_seed": "LR pixels, second seed",
    "third_seed": "LR pixels, third seed",
}
MEASURES = {  # of PSNR, and what each is taken against
    "psnr_db": "against the true HR image",
    "psnr_own_decode_db": "against the own decode",
}


def in_words(arm: Any) -> Any:
    """Name an arm, or one minus another, in words, on one line; all else stays as it is.

    >>> in_words("geometry: released - lr_pixels"), in_words("longer"), in_words(0.5)
    ('geometry: as released - LR pixels', 'LR pixels, longer', 0.5)
    """
    if not isinstance(arm, str):
        return arm
    *what, arms = arm.split(": ")
    parts = (ARM_LABELS.get(part, part).split("\n(")[0] for part in arms.split(" - "))
    return ": ".join([*what, " - ".join(parts)]).replace("\n", " ")


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """Name arms and measures of PSNR in words, in a table's rows and columns: files keep the keys.

    >>> import pandas as pd
    >>> rows = pd.MultiIndex.from_tuples([("psnr_db", "lr_pixels")], names=["measure", "arm"])
    >>> worded(pd.DataFrame({"gap": [1.0]}, index=rows)).index[0]
    ('PSNR against the true HR image, dB', 'LR pixels')
    """
    if "measure" in table.index.names:
        measures = {key: f"PSNR {words}, dB" for key, words in MEASURES.items()}
        table = table.rename(index=measures, level="measure")
    return table.rename(index=in_words, columns=in_words)


def set_label(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set in a figure, so that a downloaded figure still says what its images are.

    >>> set_label("knee", {"is_phantom": True}), set_label("mine", {"is_phantom": False})
    ('knee phantoms', 'mine')
    """
    return f"{name} phantoms" if fact["is_phantom"] else name


def set_title(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set and how many test subjects stand behind a panel.

    >>> set_title("knee", {"is_phantom": True, "n_test_subjects": 60, "subject_word": "exam"})
    'knee phantoms (60 exams)'
    """
    if fact.get("split_by") == "image":
        return f"{set_label(name, fact)} ({fact['n_test_images']} images, subjects shared with training)"
    return f"{set_label(name, fact)} ({fact['n_test_subjects']} {fact['subject_word']}s)"


def set_counts(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set with its test subjects and images.

    >>> fact = {"is_phantom": True, "n_test_subjects": 12, "n_test_images": 60}
    >>> set_counts("brain", fact | {"subject_word": "patient"})
    'brain phantoms: 12 patients, 60 images'
    """
    subjects = f"{fact.get('n_test_subjects')} {fact.get('subject_word')}s, "
    note = ""
    if fact.get("split_by") == "image":
        subjects, note = "", ", subjects shared with training"
    return f"{set_label(name, fact)}: {subjects}{fact['n_test_images']} images{note}"


def pictured(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Open an alternative text: what the images behind a figure are.

    >>> pictured({"knee": {"is_phantom": True}, "chest": {"is_phantom": True}})
    'Phantoms (knee, chest)'
    >>> pictured({"knee": {"is_phantom": True}, "mine": {"is_phantom": False}})
    'Phantoms (knee); images (mine)'
    """
    parts = []
    for word, phantoms in (("phantoms", True), ("images", False)):
        names = [name for name, fact in sets.items() if fact["is_phantom"] is phantoms]
        parts += [f"{word} ({', '.join(names)})"] if names else []
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def shared_subjects(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name the sets whose test images share subjects with training, for the rows of a table.

    >>> shared_subjects({"knee": {"split_by": "subject"}, "mine": {"split_by": "image"}})
    {'mine': 'mine (subjects shared)'}
    """
    closed = [name for name, fact in sets.items() if fact.get("split_by") == "image"]
    return {name: f"{name} (subjects shared)" for name in closed}


def with_interval(mean: float, low: float, high: float, unit: str = "") -> str:
    """Write an effect with its interval, where there is one.

    >>> with_interval(1.804, 1.68, 1.94), with_interval(0.5, float("nan"), float("nan"), " dB")
    ('+1.80 [+1.68, +1.94]', '+0.50 dB')
    """
    ends = f" [{low:+.2f}, {high:+.2f}]" if low == low else ""
    return f"{mean:+.2f}{unit}{ends}"


def intervals_wide(table: pd.DataFrame, index: Sequence[str], columns: str) -> pd.DataFrame:
    """Write estimates with their intervals, ``index`` down and ``columns`` across.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"effect": "gap", "set": ["a", "b"], "estimate": [1.0, 2.0]})
    >>> nan = float("nan")
    >>> intervals_wide(table.assign(low=[0.5, nan], high=[2.0, nan]), ["effect"], "set").iloc[0].tolist()
    ['+1.00 [+0.50, +2.00]', '+2.00']
    """
    text = list(map(with_interval, table["estimate"], table["low"], table["high"]))
    wide = table.assign(text=text).pivot_table(
        "text", list(index), columns, aggfunc="first", sort=False
    )
    return wide.rename_axis(columns=None)
