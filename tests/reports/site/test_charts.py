"""Numbers become markup."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.site import charts
from reports.site.charts import Axis

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str | None) -> ElementTree.Element:
    assert text is not None
    return ElementTree.fromstring(text)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [one for one in root.iter() if name in one.attrib.get("class", "").split()]


def words(root: ElementTree.Element, name: str) -> list[str]:
    return [one.text or "" for one in of_class(root, name)]


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "ticks"),
    [
        (0.0, 100.0, False, [0.0, 50.0, 100.0]),
        (0.0, 31.5, False, [0.0, 10.0, 20.0, 30.0]),
        (3.0, 3.0, False, [3.0]),
        (1e-4, 1.0, True, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        (1e-9, 1e3, True, [1e-9, 1e-6, 1e-3, 1.0, 1e3]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, logarithmic: bool, ticks: list[float]) -> None:
    """1, 2 or 5 times a power of ten; where the axis is logarithmic, powers of ten."""
    assert Axis(low=low, high=high, start=0, end=1, logarithmic=logarithmic).ticks == pytest.approx(ticks)


@given(
    low=st.floats(min_value=1e-9, max_value=1e6),
    factor=st.floats(min_value=1.0, max_value=1e9),
    logarithmic=st.booleans(),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_number_lands_between_the_ends(low: float, factor: float, logarithmic: bool, value: float) -> None:
    """And there are never more ticks than can be read."""
    axis = Axis(low=low, high=low * factor, start=10, end=110, logarithmic=logarithmic)
    assert 10 <= axis(value) <= 110
    assert len(axis.ticks) <= 7


def test_divergence_has_a_line_a_band_and_a_sentence() -> None:
    """The last third of the stretches lies above the noise."""
    curves = {
        "prefill_position": (0.0, 10.0, 20.0),
        "prefill_engine_nats": (1e-3, 1e-3, 1.0),
        "prefill_noise_low_nats": (1e-3, 1e-3, 1e-3),
        "prefill_noise_high_nats": (1e-2, 1e-2, 1e-2),
    }
    root = drawn(charts.divergence(curves, "prefill"))
    assert root.attrib["role"] == "img"
    assert (root.findtext(f"{SVG}title") or "").endswith("above the reference's own noise in 33% of the stretches.")
    (line,) = of_class(root, "own")
    assert len(line.attrib["points"].split()) == 3
    (band,) = of_class(root, "band")
    assert len(band.attrib["points"].split()) == 6
    assert charts.divergence(curves, "decode") is None
    assert charts.divergence({**curves, "prefill_engine_nats": (1.0,)}, "prefill") is None


def test_a_perfect_engine_can_be_drawn_on_a_logarithmic_axis() -> None:
    """Nothing is taken of which there is no logarithm."""
    zero = dict.fromkeys(("engine_nats", "noise_low_nats", "noise_high_nats"), (0.0, 0.0))
    curves = {"decode_position": (1.0, 2.0)} | {f"decode_{name}": values for name, values in zero.items()}
    assert of_class(drawn(charts.divergence(curves, "decode")), "own")


def test_times_are_dots_with_their_median() -> None:
    """Loads that have none are left out."""
    root = drawn(charts.distributions({"D1": [10.0, 30.0, 20.0], "P": []}, "ms", "Times."))
    assert root.findtext(f"{SVG}title") == "Times. Medians: D1 20 ms."
    assert (len(of_class(root, "dot")), words(root, "label")) == (3, ["D1"])
    assert charts.distributions({"D1": []}, "ms", "Times.") is None


def test_shares_are_bars_and_one_beyond_the_whole_widens_the_axis() -> None:
    """A kernel may use a cache that the measured bandwidth knows nothing of."""
    root = drawn(charts.shares({"D1": ("MBU", 0.5), "P": ("MFU", 1.25)}))
    assert words(root, "inside") == ["MBU 50%", "MFU 125%"]
    wide = [float(bar.attrib["width"]) for bar in of_class(root, "part")]
    assert wide[0] / wide[1] == pytest.approx(0.4, rel=1e-3)
    assert charts.shares({}) is None


def test_history_marks_the_nights_on_which_it_changed() -> None:
    """With their sentences for whoever does not see them; one night alone is no history."""
    root = drawn(charts.history([0, 1, 2], [40.0, 40.0, 30.0], "tokens/s", {2: "regression since Friday"}))
    assert root.findtext(f"{SVG}title") == "tokens/s over 3 nights: from 40 to 30. regression since Friday"
    assert len(of_class(root, "change")) == 1
    assert charts.history([0], [40.0], "tokens/s", {}) is None


def test_a_strip_has_a_bar_a_night_as_high_as_its_level() -> None:
    """Like nights in a row are one line of dashes, which says from when to when; an unknown one is a dot."""
    told = [("grey", None, "not known", 1, 1), ("right", 3, "3 right", 2, 3), ("right", 5, "Wed<b>", 4, 4)]
    marks = [
        charts.Stretch(
            first=dt.date(2026, 1, first), last=dt.date(2026, 1, last), nights=last - first + 1, colour=colour,
            level=level, words=words,
        )
        for colour, level, words, first, last in told
    ]  # fmt: skip
    bars = of_class(drawn(charts.strip(marks, "Said.")), "night")
    assert [bar.findtext(f"{SVG}title") for bar in bars] == [
        "2026-01-01: not known",
        "2026-01-02 to 2026-01-03: 3 right",
        "2026-01-04: Wed<b>",
    ]
    assert [(bar.attrib["x1"], bar.attrib["x2"], bar.attrib["stroke-width"]) for bar in bars] == [
        ("0", "5", "3"), ("7", "19", "18"), ("21", "26", "26"),
    ]  # fmt: skip


def test_faults_stand_by_their_size_and_are_told_apart_by_shape() -> None:
    """Nothing drawn for no fault; a row a set, and counts in words."""
    assert charts.power({}, "size") is None
    rows = {"16 sequences": {"missed": [1.0], "found": [2.0, 10.0]}, "64 sequences": {"found": [1.0]}}
    root = drawn(charts.power(rows, "size"))
    assert [len(of_class(root, kind)) for kind in ("missed", "found")] == [1, 3]
    assert root.findtext(f"{SVG}title") == "Faults by size. 16 sequences: 1 missed, 2 found; 64 sequences: 1 found."
