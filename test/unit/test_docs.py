"""The pages agree with each other: every one is in the index, and every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = ["README.md", "CONTRIBUTING.md", "docs/*.md"]

_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def pages(root: Path) -> list[Path]:
    return [page for pattern in PAGES for page in sorted(root.glob(pattern))]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link, by GitHub's rule."""
    found: set[str] = set()
    for heading in _HEADING.findall(_CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = sum(one == slug or one.startswith(f"{slug}-") for one in found)
        found.add(slug if slug not in found else f"{slug}-{number}")
    return found


def relative_links(page: Path) -> Iterator[tuple[str, str]]:
    """Path and anchor of each link that leads to no other site; either may be empty."""
    text = _CODE.sub("", _CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))
    for target in _LINK.findall(text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    wrong = []
    for path, anchor in relative_links(page):
        target = page.parent / path if path else page
        found = target.exists() and (not anchor or anchor in anchors(target))
        if not found:
            wrong.append(f"{path}#{anchor}" if anchor else path)
    return wrong


def test_every_link_leads_to_a_file_and_a_heading(root: Path) -> None:
    assert {str(page.relative_to(root)): broken(page) for page in pages(root)} == {
        str(page.relative_to(root)): [] for page in pages(root)
    }


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](other.md)", []),
        ("[a](other.md#the-first-part)", []),
        ("[a](#here-it-is)", []),
        ("[a](https://example.org/nowhere.md)", []),
        ("`[a](code.md)`", []),
        ("```\n[a](code.md)\n```", []),
        ("[a](missing.md)", ["missing.md"]),
        ("[a](other.md#second)", ["other.md#second"]),
        ("[a](#there)", ["#there"]),
        ("![a](picture.png)", ["picture.png"]),
    ],
)
def test_links_that_lead_nowhere_are_found(link: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n## The *first* part\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(f"# Here it is!\n{link}\n", encoding="utf-8")
    assert broken(page) == expected


def test_index_names_every_page_of_the_documentation_once(root: Path) -> None:
    index = root / "docs" / "README.md"
    linked = [path for path, _ in relative_links(index) if path.endswith(".md") and "/" not in path]
    there = {page.name for page in (root / "docs").glob("*.md")} - {"README.md"}
    assert sorted(linked) == sorted(there)


def test_readme_leads_to_the_index(root: Path) -> None:
    assert "docs/README.md" in {path for path, _ in relative_links(root / "README.md")}
