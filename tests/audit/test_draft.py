from pathlib import Path

import pytest

from chatloom_async.audit.draft import Draft, write_whole
from chatloom_async.errors import ConfigurationError


def test_a_draft_takes_its_place_when_published(tmp_path: Path) -> None:
    place, link = tmp_path / "page", tmp_path / "latest"
    place.write_text("before")
    place.chmod(0o640)
    link.symlink_to("page")
    (tmp_path / "page.draft").write_text("left behind by a run that was killed")
    draft = Draft.begin(link)
    draft.file.write(b"after")
    assert place.read_text() == "before"
    draft.publish()
    draft.discard()
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("after", 0o640)
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, place]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (".", "no plain file"),
        ("/dev/null", "no plain file"),
        ("none/page", "cannot write '.*none/page': No such file"),
        ("round", "cannot write '.*round'"),
        ("page", "cannot write '.*page.draft': .*[Dd]irectory|not permitted"),
    ],
)
def test_a_place_that_cannot_be_taken_is_told(tmp_path: Path, place: str, told: str) -> None:
    (tmp_path / "page.draft").mkdir()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(ConfigurationError, match=told):
        Draft.begin(tmp_path / place)
    assert (tmp_path / "page.draft").is_dir()


def test_a_draft_that_is_written_is_left_alone(tmp_path: Path) -> None:
    draft = Draft.begin(tmp_path / "page")
    draft.file.write(b"one")
    with pytest.raises(ConfigurationError, match="another run writes to it"):
        write_whole(tmp_path / "page", [b"two"])
    draft.publish()
    draft.discard()
    assert (tmp_path / "page").read_text() == "one"


def test_a_published_draft_leaves_the_next_one_alone(tmp_path: Path) -> None:
    first = Draft.begin(tmp_path / "page")
    first.publish()
    second = Draft.begin(tmp_path / "page")
    first.discard()
    second.file.write(b"two")
    second.publish()
    second.discard()
    assert (tmp_path / "page").read_text() == "two"
