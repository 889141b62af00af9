"""Whether Python code that comes with other people's parts may run here: a person says so, and no file can."""

from __future__ import annotations

import os

VARIABLE = "CGAP_TRUST_REMOTE_CODE"
HOW = "--trust-remote-code at the shell, compression_gap.consent.trust_remote_code() in Python"


def trust_remote_code() -> None:
    """Lets such code run, with the rights of who runs this, in this process and in those that it starts."""
    os.environ[VARIABLE] = "1"


def remote_code_is_trusted() -> bool:
    """Whether somebody said so."""
    return os.environ.get(VARIABLE) == "1"
