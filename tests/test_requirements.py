"""What `make` installs is what requirements/ allows, each file known by its hash."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LOCK = ROOT / "requirements" / "lock.txt"


def requirements(path):
    """What a file and those that it names with `-r` ask for."""
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            yield from requirements(path.parent / line[3:])
        elif line and not line.startswith("#"):
            yield Requirement(line)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(python):
    """Name to version of all that the lock file has for a version of Python."""
    entries = LOCK.read_text().replace("\\\n", "").splitlines()
    pins = [Requirement(entry.partition("--hash")[0]) for entry in entries]
    where = {"python_version": python, "python_full_version": f"{python}.1"}
    where |= {"sys_platform": "linux", "platform_system": "Linux"}
    pins = [pin for pin in pins if not pin.marker or pin.marker.evaluate(where)]
    names = [canonical(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    return {
        name: str(pin.specifier).removeprefix("==")
        for name, pin in zip(names, pins, strict=True)
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_has_a_version_that_is_allowed_of_each_package(python):
    versions = locked(python)
    wanted = list(requirements(ROOT / "requirements" / "dev.txt"))
    assert {"tensorflow", "skan", "pytest"} <= {each.name for each in wanted}
    for each in wanted:
        version = versions.get(canonical(each.name))
        told = f"{each}: {version} in requirements/lock.txt: run make lock"
        assert version and each.specifier.contains(version), told


def test_every_version_has_hashes_and_no_address():
    text = LOCK.read_text()
    for entry in text.replace("\\\n", "").splitlines():
        assert re.fullmatch(r"\S+==[^-]+( +--hash=sha256:[0-9a-f]{64})+", entry), entry
    assert "://" not in text
