"""The XML header of ISMRMRD and fastMRI files: what a reconstruction needs of it."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

LONGEST = 2**24


class Header(NamedTuple):
    """Sizes are (x, y, z) of the first encoding: x is the read-out, y and z are phase encoded."""

    encoded: tuple[int, int, int]
    recon: tuple[int, int, int]
    encoded_mm: tuple[float, float, float]
    recon_mm: tuple[float, float, float]
    trajectory: str
    centre: tuple[int | None, int | None]  # of phase encoding steps 1 and 2
    noise_bandwidth: float  # of the receiver, relative to that of the samples


def parse_header(text: str) -> Header:
    """The header, from XML without a document type: entities would grow without limit.

    Raises:
        ValueError: not XML, an element missing or not a number.
    """
    if len(text) > LONGEST:
        raise ValueError(f"its header has {len(text)} characters, more than {LONGEST}")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its header declares a document type, which no ISMRMRD header does; it is not read")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise ValueError(f"its header is not XML, or damaged ({error})") from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    encoding = root.find("encoding")
    if encoding is None:
        raise ValueError("its header has no encoding")

    def number(path: str, low: float, high: float, default: float | None = None) -> float:
        found = encoding.findtext(path) if path[0] != "/" else root.findtext(path[1:])
        if found is None and default is not None:
            return default
        try:
            v = float(found or "")
        except ValueError:
            v = math.nan
        if not low <= v <= high:
            raise ValueError(f"its header must give {path.replace('/', '.')} as a number from {low:g} to {high:g}, "
                             f"got {found if found is None else found[:40]!r}")
        return v

    def triple(path: str, low: float, high: float) -> tuple[float, float, float]:
        x, y, z = (number(f"{path}/{axis}", low, high, 1.0 if axis == "z" else None) for axis in "xyz")
        return x, y, z

    def sizes(path: str) -> tuple[int, int, int]:
        x, y, z = triple(path, 1, 65535)
        return int(x), int(y), int(z)

    limits = [f"encodingLimits/kspace_encoding_step_{d}/center" for d in (1, 2)]
    centre = [None if encoding.find(p) is None else int(number(p, 0, 65535)) for p in limits]
    return Header(sizes("encodedSpace/matrixSize"), sizes("reconSpace/matrixSize"),
                  triple("encodedSpace/fieldOfView_mm", 1e-9, 1e9), triple("reconSpace/fieldOfView_mm", 1e-9, 1e9),
                  (encoding.findtext("trajectory") or "cartesian").strip().lower(), (centre[0], centre[1]),
                  number("/acquisitionSystemInformation/relativeReceiverNoiseBandwidth", 1e-3, 10, 1.0))
