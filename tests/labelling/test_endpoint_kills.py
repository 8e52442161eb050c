"""A kill at any point of asking: what was answered is kept, and no such row is asked again."""

import signal

import pytest
from asked import POOL
from launched import Recipes

from wellread_hf.labelling.answers import read_answers
from wellread_hf.labelling.soft_labels import SoftLabels


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(tmp_path_factory.mktemp("logs"))


# Answers that have been sent when the kill comes: none, some, all.
@pytest.mark.parametrize("sent", [0, 17, 40], ids=["early", "in the middle", "while it finishes"])
def test_after_a_kill_no_row_is_asked_whose_answer_was_kept(place, server, recipes, sent) -> None:
    server.most = sent
    options = ["--endpoint.concurrency", 4, "--label.shard-rows", 1]
    run = recipes.start("label", *place.words(*options))

    def ready() -> bool:
        if sent == 40:
            return any(place.runs.glob("label-*/shard-*.safetensors"))
        return bool(server.asked) and len(server.answered) == sent == len(read_answers(place.journal))

    assert run.signal_when(ready) == -signal.SIGKILL
    assert not (place.stage / "stage.json").exists()
    # All that were delivered: each is on the disk before its worker asks again, and each had the time.
    kept = {*server.answered}
    assert len(kept) == len(read_answers(place.journal)) == sent
    before = [*server.asked]
    server.most = None
    server.asked.clear()
    recipes.run("label", *place.words(*options))
    assert not {*server.asked} & kept
    assert len(server.asked) == 40 - sent
    assert set(server.asked.values()) <= {1}
    # Those on their way at the kill are all that is asked twice.
    assert len({*before} & {*server.asked}) <= 4
    assert len(SoftLabels.open(place.stage).logits) == len(POOL)


def test_a_kill_at_any_moment_asks_again_no_more_than_was_on_its_way(place, server, recipes) -> None:
    asked = 0
    for answers in (5, 23):
        run = recipes.start("label", *place.words("--endpoint.concurrency", 3))
        run.signal_when(lambda answers=answers: len(server.answered) >= answers)
        asked += 3
    recipes.run("label", *place.words("--endpoint.concurrency", 3))
    assert len(server.asked) == 40
    assert 40 <= sum(server.asked.values()) <= 40 + asked


def test_a_termination_keeps_what_was_answered(place, server, recipes) -> None:
    server.most = 9
    run = recipes.start("label", *place.words())
    assert run.signal_when(lambda: len(server.answered) == 9, signal.SIGTERM) == 128 + signal.SIGTERM
    assert "the same command goes on" in run.output
    kept = len(read_answers(place.journal))
    assert kept >= 9 - 8
    server.most = None
    recipes.run("label", *place.words())
    assert sum(server.asked.values()) <= 40 + 8 + (9 - kept)
