"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mocap_opt.errors import InputError
from mocap_opt.files import write_text_atomically


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_text_atomically(path, "first")
    path.chmod(0o640)
    write_text_atomically(path, "zwei\n\u20ac")
    assert path.read_bytes() == "zwei\n\u20ac".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(InputError, match="half a character"):
        write_text_atomically(path, "\ud800")
    assert path.read_bytes() == "zwei\n\u20ac".encode()
    assert [item.name for item in tmp_path.iterdir()] == ["out.json"]


def test_links_are_followed_when_writing(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_text_atomically(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent/out.json", "create the directory first"),
        (".", "directory"),
        ("x" * 300, "can be written"),
        ("a\0", "null"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        write_text_atomically(f"{tmp_path}/{name}", "text")
    assert list(tmp_path.iterdir()) == []
