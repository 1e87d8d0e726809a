"""What is said of a measurement."""

from mari_onnx import timing as subject
from mari_onnx.timing import Timing, try_to_measure
from tests import rankers


def test_fewer_candidates_than_were_asked_for_are_said():
    timing = Timing(candidates=8, before=680.0, after=92.0, runs=3, threads=1, asked=512)
    assert timing.note == "timed with 8 candidates, as one request of 512 takes about 44 s before"
    assert timing.to_json()["asked"] == 512


def test_nothing_is_said_of_what_was_asked_for():
    assert Timing(candidates=512, before=1.0, after=0.5, runs=3, threads=1, asked=512).note == ""


def test_a_slow_model_is_timed_with_fewer(monkeypatch):
    monkeypatch.setattr(subject, "affordable", lambda run, wanted, longest: wanted // 4)
    model = rankers.ranker()
    timing, note = try_to_measure(model, model, ["user_x"], 64)
    assert timing is not None
    assert (timing.candidates, timing.asked) == (16, 64)
    # The model is quick: it only seemed slow when the number was chosen.
    assert note == (
        "timed with 16 candidates, as one request of 64 looked as if it took more than 3 s before:"
        " the machine was busier then"
    )


def test_the_model_is_run_to_find_out(monkeypatch):
    ran = []

    def once(run, wanted, longest):
        run(3)
        ran.append((wanted, longest))
        return wanted

    monkeypatch.setattr(subject, "affordable", once)
    model = rankers.ranker()
    timing, note = try_to_measure(model, model, ["user_x"], 64)
    assert timing is not None
    assert (timing.candidates, note, ran) == (64, "", [(64, subject.LONGEST_RUN)])
