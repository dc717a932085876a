"""Reading and writing scans and images: one format per file, and `load` for any."""

from .atomic import atomic_write
from .bart import read_bart, read_cfl, write_bart, write_cfl
from .dicom import read_dicom
from .dicom_write import write_dicom
from .fastmri import read_fastmri
from .image import Image
from .ismrmrd import read_ismrmrd
from .load import load, save
from .matlab import list_mat, read_mat, read_mat_arrays
from .mdf import read_mdf, write_mdf
from .mdf_data import MDF, mdf_of_sequence
from .nifti import read_nifti, write_nifti
from .npz import read_npz, write_npz
from .scan import NonCartesianScan, Scan, middle

__all__ = ["MDF", "Image", "NonCartesianScan", "Scan", "atomic_write", "list_mat", "load", "mdf_of_sequence", "middle",
           "read_bart", "read_cfl", "read_dicom", "read_fastmri", "read_ismrmrd", "read_mat", "read_mat_arrays",
           "read_mdf", "read_nifti", "read_npz", "save", "write_bart", "write_cfl", "write_dicom", "write_mdf",
           "write_nifti", "write_npz"]
