"""Several runs in one page: which belong together, what differs, what each reached."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planet_ros.errors import UserError
from planet_ros.report.comparison import _mean, comparison_page


def sister(run: Path, target: Path, **changes: str) -> Path:
    """A copy with other settings: `seed="7"` in place of the line that begins with ``seed:``."""
    shutil.copytree(run, target)
    text = (target / "settings.yaml").read_text(encoding="utf-8")
    for name, value in changes.items():
        text, count = re.subn(rf"(\n +{name}:) .*", rf"\1 {value}", text)
        assert count == 1, name
    (target / "settings.yaml").write_text(text, encoding="utf-8")
    return target


def rows(page: str, section: str) -> list[list[str]]:
    body = page[page.index(f'<section id="{section}"') :].partition("</section>")[0]
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", body)
        if "<td>" in row
    ]


def test_runs_that_differ_by_the_seed_are_one_group(tiny_run: Path, tmp_path: Path) -> None:
    other = sister(tiny_run, tmp_path / "other", seed="7")
    slow = sister(tiny_run, tmp_path / "slow", seed="8", learning_rate="0.003", discount="0.9")
    page = comparison_page([tiny_run, other, slow])
    assert "3 runs in 2 groups" in page
    table = rows(page, "reached")
    assert [row[:3] for row in table] == [
        [str(tiny_run), "A", "0"],
        [str(other), "A", "7"],
        [str(slow), "B", "8"],
    ]
    assert all(row[6] == "2 episodes from seed 900000" for row in table)
    assert rows(page, "settings") == [
        ["training.learning_rate", "0.001", "0.003"],
        ["planner.discount", "0.99", "0.9"],
    ]
    assert f"A: {tiny_run} and 1 more" in page


def test_runs_with_and_without_an_environment_share_a_page(
    tiny_run: Path, offline_run: Path, tmp_path: Path, prints: Callable[..., str]
) -> None:
    out = tmp_path / "page.html"
    assert prints("compare", tiny_run, offline_run, "--output", out).strip() == str(out)
    page = out.read_text(encoding="utf-8")
    assert "Error on held-out episodes" in page
    held, online = rows(page, "reached")[1], rows(page, "reached")[0]
    assert online[7] == "—" and float(held[7]) > 0
    assert held[4] == "—" and "held out" in held[8] and "learned from" in online[8]
    assert ["experience", '"its own"', '"episodes that were there"'] in [
        [cell.replace("&quot;", '"') for cell in row] for row in rows(page, "settings")
    ]


def test_mean_goes_as_far_as_all_runs_go() -> None:
    places, values = _mean(
        [
            (np.array([0.0, 10.0, 20.0]), np.array([0.0, 1.0, 2.0])),
            (np.array([5.0, 25.0]), np.array([2.5, 4.5])),
        ],
        smooth=False,
    )
    assert (places[0], places[-1]) == (5.0, 20.0)
    np.testing.assert_allclose(values, (0.1 * places + 0.1 * places + 2) / 2)


def test_damage_is_named_and_what_is_no_run_refused(tiny_run: Path, tmp_path: Path) -> None:
    broken = sister(tiny_run, tmp_path / "<i>")
    (broken / "metrics.jsonl").write_text("{")
    (broken / "settings.yaml").unlink()
    page = comparison_page([tiny_run, broken])
    assert "metrics.jsonl, line 1: is not JSON" in page
    assert "2 runs in 2 groups" in page and "<i>:" not in page
    with pytest.raises(UserError, match="found a bundle, expected the folder of a run"):
        comparison_page([tiny_run / "model"])
    with pytest.raises(UserError, match="found 51 runs, expected at most 50"):
        comparison_page([tiny_run] * 51)
