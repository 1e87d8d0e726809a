"""How often Python collects while a graph is rewritten, and that it is left as it was found."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from mari_onnx.collecting import SELDOM, collected_seldom


@pytest.fixture(autouse=True)
def found() -> Iterator[tuple[int, int, int]]:
    threshold = gc.get_threshold()
    yield threshold
    gc.set_threshold(*threshold)


def test_collections_are_seldom_within_and_as_before_behind() -> None:
    gc.set_threshold(500, 7, 8)
    with collected_seldom():
        assert gc.get_threshold() == (SELDOM, 7, 8)
    assert gc.get_threshold() == (500, 7, 8)


def test_an_error_leaves_it_as_it_was_too() -> None:
    gc.set_threshold(500, 7, 8)
    with pytest.raises(KeyError), collected_seldom():
        raise KeyError
    assert gc.get_threshold() == (500, 7, 8)


@pytest.mark.parametrize("own", [0, 2 * SELDOM])
def test_who_wants_them_more_seldom_still_has_that(own: int) -> None:
    gc.set_threshold(own, 7, 8)
    with collected_seldom():
        assert gc.get_threshold()[0] == own
    assert gc.get_threshold()[0] == own


def test_the_last_of_several_that_overlap_puts_it_back() -> None:
    gc.set_threshold(500, 7, 8)
    first, second = collected_seldom(), collected_seldom()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] == SELDOM
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (500, 7, 8)
