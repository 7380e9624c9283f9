"""Announcements of bundles: what goes in comes out, and no text does harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planet_ros.errors import UserError
from planet_ros.messages.announcements import MAX_CHARACTERS, Announcement

DIGEST = "0123456789abcdef" * 4


def announced(**changed: Any) -> str:
    return json.dumps({"path": "/a/model", "hash": DIGEST, **changed})


@pytest.mark.parametrize(
    "path", ["/runs/pendulum/model", "/with space/ü/模型", 'quo"te', "/a" * 2048]
)
def test_announcement_comes_back_as_it_was_sent(path: str) -> None:
    sent = Announcement(Path(path), DIGEST)
    assert Announcement.read(sent.to_text()) == sent


def test_announcement_may_have_other_keys_and_capitals() -> None:
    text = announced(hash=DIGEST.upper(), mood=["good"])
    assert Announcement.read(text) == Announcement(Path("/a/model"), DIGEST)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found '', expected JSON"),
        ("garbage", "found 'garbage', expected JSON"),
        ("{}", "path: found a NoneType, expected a path"),
        ("[]", "found '[]', expected a JSON object"),
        ("7", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("[" * 2000, "… (2000 characters), expected JSON"),
        ('{"path":' * 2000, "(16000 characters), expected JSON"),
        ("9" * 20_000, "expected JSON"),
        (" " * (MAX_CHARACTERS + 1), f"expected at most {MAX_CHARACTERS} characters"),
        ('{"path": "/\\ud800", "hash": "x"}', "path: found '/\\ud800', expected a path"),
        (announced(path="/a\0b"), "path: found '/a\\x00b'"),
        (announced(path=""), "path: found ''"),
        (announced(path="/" * 5000), "… (5000 characters), expected a path of 1 to 4096"),
        (announced(path=["/a"]), "path: found a list"),
        (announced(hash=None), "hash: found a NoneType, expected the 64 hexadecimal digits"),
        (announced(hash="x"), "hash: found 'x'"),
        (announced(hash=DIGEST + "0"), "hash: found '0123"),
        (announced(hash=DIGEST[1:]), "hash: found '1234"),
        (announced(hash=DIGEST[:-1] + "\n"), "hash: found '0123"),
        (announced(hash=int("1" * 64)), "hash: found a int"),
    ],
)
def test_announcement_that_is_none_is_refused_in_few_words(text: str, found: str) -> None:
    with pytest.raises(UserError) as caught:
        Announcement.read(text)
    assert found in str(caught.value)
    assert 'announced as {"path": "/folder' in str(caught.value)
    assert len(str(caught.value)) < 600


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.text(st.characters(codec=None, exclude_categories=()))
    | st.text('{}[]":,\\ud80 0apthsx')
    | JSON.map(json.dumps)
    | st.fixed_dictionaries({}, optional={"path": JSON, "hash": JSON | st.just(DIGEST)}).map(
        json.dumps
    )
)
def test_any_text_is_an_announcement_or_a_user_error(text: str) -> None:
    try:
        found = Announcement.read(text)
    except UserError as error:
        assert len(str(error)) < 1000
        str(error).encode()  # it can be printed
    else:
        found.path.exists()  # the file system can be asked
        assert found.digest == DIGEST
