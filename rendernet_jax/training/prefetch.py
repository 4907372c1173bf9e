"""Batches prepared in a background thread while the device works."""

import queue
import threading

_AHEAD = 4  # items prepared in advance


class Prefetch:
    """Iterator over ``make(start), ..., make(stop - 1)`` prepared in a background thread, in order.

    A context manager: the thread runs inside ``with`` only. What ``make`` raises, ``next`` raises.
    """

    def __init__(self, make, start: int, stop: int):
        self._queue = queue.Queue(maxsize=_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(make, start, stop), daemon=True)

    def _work(self, make, start, stop):
        for index in range(start, stop):
            try:
                item = make(index)
            except Exception as error:  # handed to the consumer, who raises it
                item = error
            while not self._stopped.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if self._stopped.is_set() or isinstance(item, Exception):
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def __next__(self):
        item = self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item
