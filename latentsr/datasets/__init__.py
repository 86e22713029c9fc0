"""Data sets: adapters from the layouts on disk to records, checks, and the arrays of a study."""

from latentsr.datasets.load import Preparation, list_images, load_set, read_images, sampled, summary
from latentsr.datasets.pixels import middle_half_slices, photographs, prepare_mask, prepare_pixels
from latentsr.datasets.records import Adapter, Record
from latentsr.datasets.sets import ADAPTERS, SetEntry, read_sets, recognise, study_sets

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Preparation",
    "Record",
    "SetEntry",
    "list_images",
    "load_set",
    "middle_half_slices",
    "photographs",
    "prepare_mask",
    "prepare_pixels",
    "read_images",
    "read_sets",
    "recognise",
    "sampled",
    "study_sets",
    "summary",
]
