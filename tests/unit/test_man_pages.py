"""The manual pages, from the same texts as the help."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from docs.generators.man_pages import man_pages
from tests.acceptance.every_command import commands

PAGES = man_pages("1.2.3")


def test_every_command_and_every_group_has_a_page() -> None:
    """Of its name, with - between the words."""
    names = {f"mailctl-{name.replace(' ', '-')}.1" for name in commands()}
    groups = {f"mailctl-{name.partition(' ')[0]}.1" for name in commands()}
    assert set(PAGES) == names | groups | {"mailctl.1"}


def test_a_page_has_the_sections_of_a_manual() -> None:
    """What it does, how it is called, examples, options, exit codes, related pages."""
    page = PAGES["mailctl-queue-peek.1"]
    assert re.findall(r"^\.SH (.+)$", page, re.MULTILINE) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "ARGUMENTS", "OPTIONS", "SHARED OPTIONS"),
        *("EXIT STATUS", "SEE ALSO"),
    ]
    assert "mailctl\\-queue\\-peek \\- Show the next emails of a queue without removing them\n" in page
    assert "\\fBmailctl\\-queue\\-list\\fR(1), \\fBmailctl\\-list\\fR(1), \\fBmailctl\\-queue\\fR(1)" in page
    assert "mailctl 1.2.3" in page.splitlines()[0]


def test_pages_refer_only_to_pages() -> None:
    """`man` would not find others."""
    for name, page in PAGES.items():
        for other in re.findall(r"\\fB([a-z\\-]+)\\fR\(1\)", page):
            assert f"{other.replace(chr(92), '')}.1" in PAGES, name


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_finds_no_fault() -> None:
    """In any page."""
    ran = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"],
        input="".join(PAGES.values()),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
