"""``planet-ros``: its arguments, and how errors end it."""

from __future__ import annotations

import keyword
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from planet_ros.cli.parser import build_parser
from planet_ros.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError

EXIT_BROKEN_PIPE = 141
"""As a shell has it for a program that writes to one that has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 for success, 2 for bad input, 130 after Ctrl-C."""
    command, output = "", None
    try:
        signal.signal(signal.SIGTERM, _terminate)
        options = build_parser().parse_args(arguments)
        command, output = f" {options.command}", getattr(options, "output", None)
        # Only now: it takes a second or two, in which Ctrl-C is pressed as well as at any time.
        from planet_ros.cli import commands

        name = options.command
        return int(getattr(commands, f"{name}_" if keyword.iskeyword(name) else name)(options))
    except UserError as error:
        return _failed(command, str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("planet_ros", "sim_bridge"):
            raise
        return _failed(
            command,
            f"{error}; this command needs the learner's packages: pip install '.[train]' in the "
            "folder of planet_ros, or '.[bags]' for bags alone (and '.[ros]' where ROS 2 itself is "
            "not installed)",
        )
    except BrokenPipeError:  # of `planet-ros … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that nobody may write into …
        if error.filename is None and output is not None:  # the system does not say where
            return _failed(command, f"{output}: cannot be written: {error.strerror or error}")
        return _failed(command, str(error))
    except KeyboardInterrupt as interrupt:
        print(f"\nplanet-ros{command}: {str(interrupt) or 'stopped'}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _failed(command: str, reason: str) -> int:
    print(f"planet-ros{command}: error: {reason}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _terminate(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
