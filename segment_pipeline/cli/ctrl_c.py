"""Ctrl-C is remembered: a library in whose import or query it falls makes an error of its own of it."""

import signal
from types import FrameType

_pressed = False


def remember() -> None:
    """From now on `ended` knows of Ctrl-C. Where it is ignored, as in a shell's background, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def ended(error: BaseException) -> bool:
    """Whether it was Ctrl-C that ended the command, whatever has become of it on its way."""
    return _pressed or isinstance(error, KeyboardInterrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)
