"""Data sets: adapters from the layouts on disk to records, checks, and the arrays of a study."""

from latentsr.datasets.adapters import brats, folder, mimic_cxr, mrnet
from latentsr.datasets.load import load_set, summary
from latentsr.datasets.pixels import middle_half_slices, prepare_mask, prepare_pixels
from latentsr.datasets.reading import list_images, read_images, sampled
from latentsr.datasets.recognition import recognise
from latentsr.datasets.records import Record
from latentsr.datasets.sets import SetEntry, read_sets, study_sets

__all__ = [
    "Record",
    "SetEntry",
    "brats",
    "folder",
    "list_images",
    "load_set",
    "middle_half_slices",
    "mimic_cxr",
    "mrnet",
    "prepare_mask",
    "prepare_pixels",
    "read_images",
    "read_sets",
    "recognise",
    "sampled",
    "study_sets",
    "summary",
]
