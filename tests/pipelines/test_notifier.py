"""Progress is told on the notifier's own time."""

import threading

import torch

from pipelines.handle import Handle
from pipelines.notifier import Notifier
from pipelines.pipeline import Progress


def test_a_slow_listener_hears_the_latest_and_not_all_between(spec_of, make_request):
    told, is_busy, may_go_on = [], threading.Event(), threading.Event()

    def listen(progress):
        told.append(progress.step)
        is_busy.set()
        may_go_on.wait(30)

    handle = Handle(spec_of("sd"), make_request(), listen, lambda: None)
    notifier = Notifier(torch.device("cpu"))
    notifier.start()
    notifier.post(handle, Progress(1, 9))
    assert is_busy.wait(30)
    for step in range(2, 9):
        notifier.post(handle, Progress(step, 9))
    may_go_on.set()
    notifier.stop()
    assert told == [1, 8]


def test_nothing_is_told_of_an_image_that_is_done(spec_of, make_request):
    told = []
    handle = Handle(spec_of("sd"), make_request(), told.append, lambda: None)
    handle.future.cancel()
    notifier = Notifier(torch.device("cpu"))
    notifier.start()
    notifier.post(handle, Progress(1, 9))
    notifier.stop()
    assert told == []
