"""What a node is told before it starts: what a message may cost, and who may hold it up."""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping
from pathlib import Path

PROFILES = Path(__file__).with_name("fastdds.xml")

_FILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 2 and 3."""

_SWITCH = "RMW_FASTRTPS_USE_QOS_FROM_XML"
_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"

# Parameters of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 4 * 2**20


def give_large_blocks_back() -> None:
    """Have the C library return blocks of 4 MB and more to the system as soon as they are free.

    By itself it learns from the first large block to keep such ones, up to 32 MB. For a process
    that has none of its own, as the controller: who works on large arrays gets them faster when
    they are kept. C libraries that have no mallopt are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


def prepare(variables: MutableMapping[str, str] = os.environ) -> None:
    """Have Fast DDS free what a message took once it was read, and share no memory.

    A reader keeps a buffer as large as the largest message that ever came, so that one message of
    100 MB, which is dropped, would cost that much memory for good.

    In shared memory every reader has a lock that all who send to it take. A reader that is killed
    while it holds that lock, as happens in one of 50 kills, stops those who publish to it for 3 to
    8 seconds, in the middle of their call: a controller could not send what is safe. So messages
    go by UDP, also on one machine. Where only this machine is to be discovered
    (``ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST``) ROS adds shared memory whatever one says.

    There is no other way to tell ROS's middleware than a file and variables. Who has profiles or
    transports of their own keeps them; other middleware takes no notice.
    """
    if any(name in variables for name in (*_FILES, _SWITCH)):
        return
    variables.setdefault(_TRANSPORTS, "UDPv4")
    variables.update(dict.fromkeys(_FILES, str(PROFILES)))
    variables[_SWITCH] = "1"
