"""A generator that runs in a process of its own: what is a loop in Python takes a CPU of its own then."""

from __future__ import annotations

import signal
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

_T = TypeVar("_T")
_ITEM, _FAILED, _END = range(3)


def apart(makes: Callable[..., Iterator[_T]], *arguments: object) -> Generator[_T]:
    """Yield what `makes(*arguments)` yields, which must be able to be sent: function, arguments and items.

    Not more than the pipe holds is made ahead. RuntimeError: the process was ended from outside.
    """
    context = get_context("spawn")  # a fork would take locks along that other threads hold
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, makes, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            try:
                kind, item = ours.recv()
            except EOFError:
                raise RuntimeError("the process that makes a model's events was ended from outside") from None
            if kind == _END:
                return
            if kind == _FAILED:
                raise item
            yield item
    finally:  # also where nobody wants more
        ours.close()
        process.terminate()
        process.join()


def _send(pipe: Connection, makes: Callable[..., Iterator[Any]], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    try:
        for item in makes(*arguments):
            pipe.send((_ITEM, item))
        pipe.send((_END, None))
    except BrokenPipeError:
        pass
    except BaseException as error:  # noqa: BLE001 - it is raised where the items are wanted
        pipe.send((_FAILED, error))
