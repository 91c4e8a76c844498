"""Plots are well-formed pictures of their data."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.apps.svg import SMALL, Curve, Level, plot, short_number, thin_out

values = st.lists(st.none() | st.floats(-1e6, 1e6) | st.just(math.nan), max_size=40)


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]


@given(values, st.booleans())
def test_any_data_gives_well_formed_svg_inside_its_frame(ys, percent):
    curve = Curve(x=list(range(len(ys))), y=ys, low=ys, high=ys, has_dots=True)
    picture = plot([curve], title="<&>", levels=[Level(y=0.5, low=0.4, high=0.6)], percent=percent)
    root = ET.fromstring(picture)
    assert root.get("aria-label") == "<&>"
    for element in root.iter():
        for key in ("d", "points"):
            pixels = numbers(element.get(key, ""))
            assert all(-0.1 <= x <= SMALL[0] + 0.1 for x in pixels[::2])
            assert all(-0.1 <= y <= SMALL[1] + 0.1 for y in pixels[1::2])


def test_higher_values_are_painted_higher_and_gaps_stay_gaps():
    curve = Curve(x=[0, 1, 2, 3], y=[0.1, 0.9, None, 0.5])
    path = ET.fromstring(plot([curve], title="t", percent=True)).find("path")
    assert path is not None
    d = path.get("d", "")
    assert d.count("M") == 2 and d.count("L") == 1
    first, second = numbers(d)[:4][1::2]
    assert second < first


def test_an_empty_plot_is_a_plot():
    assert ET.fromstring(plot([], title="nothing")).tag == "svg"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=900))
def test_thinning_keeps_range_and_mean(ys):
    x, y = thin_out(np.arange(len(ys)), ys, points=50)
    assert len(x) == len(y) <= 50 or len(ys) <= 50
    assert min(ys) - 1e-9 <= y.min() and y.max() <= max(ys) + 1e-9
    assert np.all(np.diff(x) > 0)


def test_numbers_are_short():
    assert [short_number(v) for v in (0, 0.25, 15000, 1500, 2.5e6, 2e-5)] == [
        "0",
        "0.25",
        "15k",
        "1.5k",
        "2.5M",
        "2e-05",
    ]
