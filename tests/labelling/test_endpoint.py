"""A model behind an endpoint: what is stored, what is asked how often, and what a key never gets into."""

import asyncio
import json
import os
import re

import numpy as np
import pytest
from asked import KEY, POOL, TEMPLATE, VALIDATION, Place, prompt_of, says, score
from chat_server import completion
from recipe_runs import Ran, run_here
from scipy.special import log_softmax

from wellread_hf.errors import SettingsError
from wellread_hf.hub.cards.labels_card import soft_labels_card
from wellread_hf.labelling.answers import read_answers
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.settings import Endpoint
from wellread_hf.store.records import StageRecord


def ask(capfd: pytest.CaptureFixture[str], place: Place, *more: object, status: int = 0) -> Ran:
    ran = run_here(capfd, "label", *place.words(*more))
    assert ran.status == status, ran.out + ran.err
    return ran


def message(ran: Ran) -> str:
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    return line


def test_what_is_stored_is_what_the_model_says_of_each_text(capfd, place, server) -> None:
    ran = ask(capfd, place)
    found = SoftLabels.open(place.stage)
    good = np.array([score(prompt_of(text)) for text in POOL])
    np.testing.assert_allclose(found.logits, log_softmax(np.log([1 - good, good]), axis=0).T, atol=1e-5)
    found.check_belongs([(text,) for text in POOL])
    # Each text once, and no more than that.
    assert server.asked == {prompt_of(text): 1 for text in {*POOL, *(text for text, _ in VALIDATION)}}
    outcome = place.record.outcome
    assert (outcome["rows"], outcome["prompts"]) == (31, 40)
    assert outcome["labels"] == ["neg", "pos"]
    assert outcome["teacher_validation"] == {"accuracy": 1.0}
    assert outcome["teacher_validation_rows"] == 10
    assert outcome["label_words_mass"] == {
        "median": pytest.approx(0.8),
        "below_1_percent": 0,
        "prompts": 10,
    }
    assert outcome["constrained"] == 0.75
    assert outcome["served"] == [{"model": "small-0125", "fingerprint": "fp-1", "prompts": 40}]
    assert outcome["tokens_out"] == 40
    assert "accuracy 100.0 % on validation, 10 rows" in ran.out
    assert not place.journal.exists()
    # A finished stage asks nothing.
    ask(capfd, place)
    assert sum(server.asked.values()) == 40


def test_a_request_asks_for_one_token_with_the_words_as_a_constraint(capfd, place, server) -> None:
    ask(capfd, place, "--endpoint.top-logprobs", 7)
    limit = {
        "structured_outputs": {"choice": ["bad", "good"]},
        "guided_choice": ["bad", "good"],
        "grammar": 'root ::= "bad" | "good"',
    }
    for body in server.bodies:
        (asked,) = body.pop("messages")
        # Validation rows show what else the model would say.
        limited = {} if "then" in asked["content"] else limit
        assert body == limited | {
            "model": "small", "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 7
        }  # fmt: skip


def test_rows_tokens_and_cost_are_told_before_the_first_request(capfd, place, server) -> None:
    prices = ("--endpoint.price-in", 100, "--endpoint.price-out", 1000)
    plan = ask(capfd, place, *prices, "--dry-run")
    assert not server.asked
    assert not place.runs.exists()
    prompts = {prompt_of(text) for text in [*POOL, *(text for text, _ in VALIDATION)]}
    tokens = sum(map(len, prompts)) // 4
    cost = (tokens * 100 + 40 * 1000) / 1e6
    assert cost < 1
    announced = f"40 prompts for 31 rows and 10 validation rows, 0 answered before; about {tokens:,} tokens"
    assert announced in plan.out
    assert f"40 of answers, for {cost:.2g} at the prices given" in plan.out
    # Before the first request, so that a person can still end it.
    server.fault("", status=401, times=None)
    ran = ask(capfd, place, *prices, status=1)
    assert announced in ran.out
    server.faults.clear()
    spent = sum(len(prompt.split()) for prompt in prompts)
    ran = ask(capfd, place, *prices)
    assert (
        f"40 prompts took {spent:,} tokens, and their answers 40, for {(spent * 100 + 40_000) / 1e6:.2g}"
        in ran.out
    )
    assert place.record.outcome["tokens_in"] == spent


def test_tokens_that_a_server_does_not_count_are_not_told_as_none(capfd, place, server) -> None:
    said = completion([("good", 0.5)], {"model": "s", "top_logprobs": 2, "messages": [{"content": ""}]})
    server.fault("", kind="body", body=json.dumps(said | {"usage": None}), times=None)
    assert (
        "40 prompts were answered; the server does not say how many tokens they took" in ask(capfd, place).out
    )


def test_the_key_goes_to_the_server_and_nowhere_else(capfd, place, server) -> None:
    server.fault("about 7", status=401, message="Incorrect API key provided", key=True)
    refused = ask(capfd, place, status=1)
    assert "Incorrect API key provided" in message(refused)
    ran = ask(capfd, place)
    assert server.keys == {f"Bearer {KEY}"}
    card = soft_labels_card(place.record, "me/labels")
    written = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {"stage.json", "settings.yaml"} <= {path.name for path in written}
    assert "| teacher | `small`, a model behind an endpoint |" in card
    assert "less than 1 % of the probability | 0.0 % of 10 |" in card
    for text in (refused.out, refused.err, ran.out, ran.err, card, *os.listdir(place.runs)):
        assert KEY not in text
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


def test_without_a_key_no_header_is_sent(capfd, place, server, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    ask(capfd, place)
    assert server.keys == {None}


def test_what_may_pass_is_repeated_as_the_server_says(capfd, place, server) -> None:
    server.fault("about 3 ", status=429, headers={"Retry-After": "0.05"}, times=2)
    server.fault("about 4 ", status=503, headers={"Retry-After": "0.05"})
    server.fault("about 5 ", kind="drop")
    server.fault("about 6 ", kind="hang", seconds=5)
    server.fault("about 7 ", status=418, headers={"x-should-retry": "true"})
    ask(capfd, place, "--endpoint.timeout", 1)
    assert {prompt[14:16]: times for prompt, times in server.asked.items() if times > 1} == {
        "3 ": 3, "4 ": 2, "5 ": 2, "6 ": 2, "7 ": 2
    }  # fmt: skip
    assert place.record.outcome["retries"] == 6


@pytest.mark.parametrize(("seconds", "waits"), [(300, True), (3_000, True), (7_200, False)])
def test_a_long_wait_that_is_asked_for_is_kept(capfd, place, server, monkeypatch, seconds, waits) -> None:
    slept, sleep = [], asyncio.sleep

    async def at_once(time: float) -> None:
        slept.append(time)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    server.fault("about 3 ", status=429, headers={"Retry-After": str(seconds)})
    ran = ask(capfd, place, status=0 if waits else 1)
    assert slept == [seconds] * waits
    if waits:
        assert f"answers 429 and asks to wait {seconds:,} s" in ran.err
        assert place.record.outcome["retries"] == 1
    else:
        assert "asks to come back in 7,200 s" in message(ran)


def test_a_row_that_is_given_up_is_named_and_what_was_answered_is_kept(capfd, place, server) -> None:
    server.fault("about 20 ", status=500, message="no memory left", times=None)
    ran = ask(capfd, place, "--endpoint.retries", 1, "--endpoint.concurrency", 4, status=1)
    assert re.search(
        r"row 21 of the transfer set: .*got 500 \(no memory left\); every answer so far", message(ran)
    )
    answered = [*server.answered]
    assert len(answered) >= 29
    assert len(read_answers(place.journal)) == len(answered)
    assert not (place.stage / "stage.json").exists()
    server.faults.clear()
    server.asked.clear()
    ran = ask(capfd, place)
    assert (
        f"{40 - len(answered)} prompts for 31 rows and 10 validation rows, {len(answered)} answered before"
        in ran.out
    )
    assert not {*server.asked} & {*answered}
    assert len(server.asked) == 40 - len(answered)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "expected a key that it takes, got the key in OPENAI_API_KEY"),
        (403, "expected a key that it takes"),
        (404, "check --endpoint, which ends in /v1 as a rule, and --endpoint.model"),
    ],
)
def test_what_will_not_pass_ends_the_run_at_once(capfd, place, server, status, said) -> None:
    server.fault("", status=status, message="not you", times=None)
    ran = ask(capfd, place, status=1)
    assert f"answers {status} (not you)" in message(ran)
    assert said in message(ran)
    assert sum(server.asked.values()) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("no JSON", "got one that is not JSON"),
        ("{}", "got an answer without `choices`; check --endpoint"),
        ('{"choices": []}', "got an answer without `choices`"),
        ('{"choices": [{"message": {"content": "good"}}]}', "expected log-probabilities, got none"),
        ('{"choices": [{"logprobs": {"content": []}}]}', "expected log-probabilities, got none"),
        ('{"choices": [{"logprobs": {"content": [{"token": "good", "logprob": -0.1, "top_logprobs": []}]}}]}',
         "expected log-probabilities, got none"),
        ('{"choices": [{"logprobs": {"content": [{"token": "a", "logprob": 3, "top_logprobs":'
         ' [{"token": "a", "logprob": 3}]}]}}]}', "expected log-probabilities, got 3.0"),
        ('{"choices": [{"logprobs": {"content": [{"token": "a", "logprob": NaN, "top_logprobs":'
         ' [{"token": "a", "logprob": NaN}]}]}}]}', "expected log-probabilities, got nan"),
        ('{"choices": [{"logprobs": {"content": [{"token": "a", "logprob": -1, "top_logprobs":'
         ' [{"token": "a", "logprob": null}]}]}}]}', "expected log-probabilities, got None"),
        ('{"choices": 7}', "every answer so far is kept"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_ends_the_run_in_a_sentence(capfd, place, server, body, said) -> None:
    server.fault("", kind="body", body=body, times=None)
    assert said in message(ask(capfd, place, status=1))
    assert not (place.stage / "stage.json").exists()


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_takes_no_constraint_is_asked_without(capfd, place, server, status) -> None:
    server.fault("about", status=status, message="Unrecognized request argument: grammar", times=1)
    ran = ask(capfd, place)
    assert "takes no list of label words (Unrecognized request argument: grammar)" in ran.err
    assert place.record.outcome["constrained"] == 0
    assert sum("guided_choice" in body for body in server.bodies) == 1
    assert sum(server.asked.values()) == 41


def test_a_server_that_refuses_any_request_says_why(capfd, place, server) -> None:
    server.knows = frozenset({"model", "messages"})
    assert "got 400 (Unrecognized request argument: logprobs)" in message(ask(capfd, place, status=1))


def test_a_row_that_is_refused_is_stored_with_even_probabilities_and_named(capfd, place, server) -> None:
    server.fault("about 20 ", status=400, message="content filter", times=None)
    server.fault("then fun 2", status=400, message="content filter", times=None)
    ran = ask(capfd, place)
    assert "refused 1 of the rows: 21, the first with 'content filter'" in ran.err
    logits = SoftLabels.open(place.stage).logits
    np.testing.assert_allclose(logits[20], np.log([0.5, 0.5]), rtol=1e-6)
    assert place.record.outcome["refused_rows"] == 1
    assert place.record.outcome["teacher_validation_rows"] == 9
    assert sum(server.asked.values()) == 40


def test_more_than_a_few_rows_that_are_refused_end_the_run(capfd, place, server) -> None:
    # Eleven rows; the first of all was answered, so the server knows the fields.
    server.fault("about 2", status=422, message="too long", times=None)
    said = message(ask(capfd, place, status=1))
    assert re.search(r"row \d+ of the transfer set: .*422 \(too long\)", said)
    assert sum("about 2" in prompt for prompt in server.asked) >= 4


def test_no_more_requests_at_a_time_than_allowed(capfd, place, server) -> None:
    server.answers = lambda prompt: asyncio.run(asyncio.sleep(0.02)) or says(prompt)
    ask(capfd, place, "--endpoint.concurrency", 3)
    assert server.together == 3


def test_a_prompt_that_asks_for_something_else_is_refused_after_the_first_rows(capfd, place, server) -> None:
    server.answers = lambda prompt: [("The", 0.7), ("A", 0.2), ("good", 0.001), ("bad", 0.001)]
    lines = [
        json.dumps({"sentence": f"then {number}", "label": ("neg", "pos")[number % 2]})
        for number in range(300)
    ]
    (place.folder / "validation.jsonl").write_text("\n".join(lines))
    ran = ask(capfd, place, status=1)
    assert "for 64 of the first 64 prompts these have less than 1 % of the probability" in message(ran)
    assert "It is'" in message(ran)
    asked = sum(server.asked.values())
    assert asked < 64 + 20
    # The same command does not go on paying.
    ask(capfd, place, status=1)
    assert sum(server.asked.values()) < asked + 20


def test_rows_that_the_model_would_answer_otherwise_are_counted_and_warned_of(capfd, place, server) -> None:
    server.answers = lambda prompt: [("The", 1.0)] if re.search("then .* [^34]\n", prompt) else says(prompt)
    ran = ask(capfd, place)
    assert place.record.outcome["label_words_mass"] == {"median": 0, "below_1_percent": 0.6, "prompts": 10}
    assert "less than 1 % on 60.0 % of 10 prompts" in ran.out
    assert "this prompt does not work: on 60 % of the rows" in ran.err


def test_a_server_that_hides_what_else_the_model_would_say_is_seen_through(capfd, place, server) -> None:
    """With the constraint some servers give probabilities of the label words alone."""
    limited = [("bad", 0.3), ("good", 0.7), ("The", 0.0)]
    server.answers = lambda prompt: [("The", 0.999), ("good", 1e-4)] if "then" in prompt else limited
    ran = ask(capfd, place)
    assert place.record.outcome["label_words_mass"]["below_1_percent"] == 1
    assert "this prompt does not work" in ran.err


def test_what_the_model_says_of_texts_without_content_is_taken_off(capfd, place, server) -> None:
    ask(capfd, place)
    plain = {place.stage}
    before = SoftLabels.open(place.stage).logits
    ask(capfd, place, "--prompt.calibrate")
    assert sum(server.asked.values()) == 40 + 43
    (calibrated,) = {*place.runs.glob("label-*")} - plain
    good = np.mean([score(prompt_of(text)) for text in ("N/A", "[MASK]", "")])
    found = SoftLabels.open(calibrated).logits
    np.testing.assert_allclose(found, before - np.log([1 - good, good]), atol=1e-5)
    said = StageRecord.read(calibrated).outcome["uncalibrated"]["content_free"]
    assert said == {"neg": pytest.approx(1 - good), "pos": pytest.approx(good)}


def test_label_words_that_share_their_first_token_are_refused(capfd, place, server) -> None:
    server.answers = lambda prompt: [("po", 0.95), ("The", 0.05)]
    said = message(ask(capfd, place, "--label-words", "poor", "positive", status=1))
    assert "got one that several begin with; take words that begin differently" in said
    ran = ask(capfd, place, "--label-words", "not bad", "not good", status=2)
    assert "'not bad' and 'not good' begin alike" in message(ran)
    assert sum(server.asked.values()) == 1


def test_examples_are_shown_and_no_validation_rows_are_asked_where_none_are_wanted(
    capfd, place, server
) -> None:
    (place.folder / "prompt.jinja").write_text(
        "{% for each in examples %}{{ each.sentence }}: {{ each.label }}\n{% endfor %}{{ sentence }}:"
    )
    ask(capfd, place, "--prompt.shots", 2, "--endpoint.validation-rows", 0)
    assert len(server.asked) == 30
    assert all(
        re.match(r"it was (dull|fun) \d: (good|bad)\nit was .*\nabout \d+ hours:$", p) for p in server.asked
    )
    assert "teacher_validation" not in place.record.outcome
    # Nobody knows what else the model would say.
    assert "label_words_mass" not in place.record.outcome
    assert "less than 1 %" not in soft_labels_card(place.record, "me/labels")


def test_what_decides_the_answers_is_in_the_digest_and_the_address_is_not(capfd, place, server) -> None:
    def folder(*more: object) -> str:
        return re.search(r"label-mine-[0-9a-f]{12}", ask(capfd, place, *more, "--dry-run").out)[0]

    first = folder()
    assert folder("--endpoint", "http://localhost:1/v1") == first
    assert folder("--endpoint.concurrency", 2, "--endpoint.validation-rows", 3) == first
    others = [folder("--endpoint.model", "other"), folder("--label-words", "poor", "fine")]
    (place.folder / "prompt.jinja").write_text(TEMPLATE + " very")
    assert len({first, *others, folder()}) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://me:word@host/v1"}, "without a user, a password"),
        ({"url": "https://host/v1?api-key=word"}, "without a user, a password"),
        ({"url": "word"}, "expected the address of a server"),
        ({"url": "http://host:word/v1"}, "expected an address"),
        ({"url": "http://[word/v1"}, "expected an address"),
        ({"key_env": "sk-word"}, "not the key itself"),
        ({"key_env": "gsk_word"}, "not the key itself"),
    ],
)
def test_an_address_or_a_name_with_a_secret_is_refused_and_not_quoted(changes, said) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        Endpoint(**changes)
    assert not re.search(r"word\b(?!s)", str(refused.value).replace("a password", ""))


def test_a_missing_package_is_named(capfd, place, server, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    ran = ask(capfd, place, status=2)
    assert 'pip install "wellread-hf[endpoint]"' in message(ran)


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "käse"])
def test_a_key_that_no_header_takes_is_refused_and_not_quoted(
    capfd, place, server, monkeypatch, value
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    ran = ask(capfd, place, status=2)
    assert "expected a key of printable ASCII characters" in message(ran)
    assert value not in ran.err
    assert not server.asked


def test_a_named_variable_that_is_not_set_is_refused(capfd, place, server) -> None:
    ran = ask(capfd, place, "--endpoint.key-env", "SOME_KEY", status=2)
    assert "--endpoint.key-env SOME_KEY: expected an environment variable with the key" in message(ran)


def test_a_proxy_that_does_not_answer_is_named(capfd, place, server, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    said = message(ask(capfd, place, "--endpoint.retries", 0, status=1))
    assert "through the proxy in HTTP_PROXY; NO_PROXY=127.0.0.1 asks without it" in said
    assert not server.asked
