"""Settings: what is one, and its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.setting import BITS, DEVICE, Setting
from re_pose_ros.errors import InputError

NAMES = st.text("abcp0159_.-", min_size=1, max_size=8)
SETTINGS = st.one_of(
    st.builds(Setting, NAMES, st.just(DEVICE), st.just(0), st.just(0)),
    st.builds(Setting, NAMES, st.just(0), st.just(0), st.integers(1, 100)),
    st.builds(Setting, NAMES, st.integers(1, 9999), st.sampled_from(BITS), st.just(0)),
)


@given(SETTINGS)
def test_a_setting_is_read_as_it_was_written(setting: Setting) -> None:
    assert Setting.parse(str(setting)) == setting
    assert setting.sends == (setting.cut != DEVICE)
    assert setting.sends_features == (setting.bits > 0)


def test_the_text_of_settings() -> None:
    assert str(Setting("p5", DEVICE, 0, 0)) == "p5/device"
    assert str(Setting("p5", 0, 0, 70)) == "p5/jpeg70"
    assert str(Setting("p3", 4, 6, 0)) == "p3/cut4/6bit"


@pytest.mark.parametrize(
    ("exit", "cut", "bits", "quality", "part"),
    [
        ("", DEVICE, 0, 0, "exit ''"),
        ("a/b", DEVICE, 0, 0, "exit 'a/b'"),
        ("p5", -2, 0, 0, "cut -2"),
        ("p5", DEVICE, 8, 0, "bits to 0, not 8"),
        ("p5", DEVICE, 0, 70, "quality to 0, not 70"),
        ("p5", 0, 8, 70, "bits to 0, not 8"),
        ("p5", 0, 0, 0, r"quality 0 is not in \[1, 100\]"),
        ("p5", 0, 0, 101, "quality 101"),
        ("p5", 4, 0, 0, "use one of 2, 4, 6, 8"),
        ("p5", 4, 3, 0, "cannot have 3 bits"),
        ("p5", 4, 8, 70, "quality to 0, not 70"),
    ],
)
def test_what_is_no_setting_is_refused(
    exit: str, cut: int, bits: int, quality: int, part: str
) -> None:
    with pytest.raises(InputError, match=part):
        Setting(exit, cut, bits, quality)


@pytest.mark.parametrize(
    "text",
    (
        *("", "p5", "p5/", "p5/edge", "/device", "p5/jpeg", "p5/jpeg0", "p5/jpeg101", "p5/cut4"),
        *("p5/cut0/8bit", "p5/cut4/5bit", "p5/cut-1/8bit", "p5/device ", "p5/cut4/8bit/x"),
    ),
)
def test_other_text_is_no_setting(text: str) -> None:
    with pytest.raises(InputError):
        Setting.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_setting_or_refused(text: str) -> None:
    try:
        setting = Setting.parse(text)
    except InputError:
        return
    assert Setting.parse(str(setting)) == setting
