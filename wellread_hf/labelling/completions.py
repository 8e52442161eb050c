"""The parts of OpenAI's protocol that soft labels need: constrained words, first tokens, requested waits."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from wellread_hf.labelling.answers import LITTLE, Answer, probabilities_of

# A logarithm of a probability may be a little above 0, by rounding.
_POSITIVE = 1e-3
# Statuses that may pass, beside those from 500 on: the ones that the `openai` package repeats.
_PASSING = (408, 409, 429)


def constraint(words: Sequence[str]) -> Mapping[str, Any]:
    """Returns the fields by which servers limit an answer to some words; each ignores those of the others."""
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return {
        # vLLM, from 0.11 on and before.
        "structured_outputs": {"choice": list(words)},
        "guided_choice": list(words),
        # llama.cpp.
        "grammar": "root ::= " + " | ".join(f'"{word}"' for word in quoted),
    }


def answer_of(completion: Any, words: Sequence[str], constrained: bool) -> Answer:
    """Reads a chat completion of one token.

    Args:
        completion: As the `openai` package parses it, which leaves out what the server has not sent.
        words: The label words.
        constrained: Whether it was asked for with `constraint`.

    Raises:
        ValueError: It has no log-probabilities, or its first token may be the beginning of several words.
    """
    choices = getattr(completion, "choices", None)
    if not choices:
        raise ValueError(
            "expected OpenAI's protocol, got an answer without `choices`; check `endpoint.url`, which "
            "ends in /v1 as a rule"
        )
    content = getattr(getattr(choices[0], "logprobs", None), "content", None)
    if not content or not content[0].top_logprobs:
        raise ValueError(
            "expected log-probabilities, got none; take a server and a model that give them, as vLLM, TGI "
            "and llama.cpp do"
        )
    first = content[0]
    listed = [*first.top_logprobs, first]
    if strange := [each.logprob for each in listed if not isinstance(each.logprob, int | float)]:
        raise ValueError(f"expected log-probabilities, got {strange[0]!r:.40}")
    tokens = [(str(each.token), float(each.logprob)) for each in first.top_logprobs]
    # The token that was chosen is not always among the likeliest.
    if first.token not in dict(tokens):
        tokens.append((str(first.token), float(first.logprob)))
    if wrong := [value for _, value in tokens if not value < _POSITIVE]:
        raise ValueError(f"expected log-probabilities, got {wrong[0]}")
    log_probs, mass, shared = probabilities_of(tokens, words)
    if mass < LITTLE < shared:
        raise ValueError(
            "expected a first token that is of one label word, got one that several begin with; take words "
            "that begin differently, or letters such as A B C"
        )
    usage = getattr(completion, "usage", None)
    return Answer(
        log_probs=log_probs,
        mass=mass,
        shared=shared,
        tokens_in=getattr(usage, "prompt_tokens", None) or 0,
        tokens_out=getattr(usage, "completion_tokens", None) or 0,
        constrained=constrained,
        model=str(getattr(completion, "model", "")),
        fingerprint=getattr(completion, "system_fingerprint", None),
    )


def requested_wait(status: int, headers: Mapping[str, str]) -> float:
    """Returns the seconds that `Retry-After` asks to wait; 0 where there is none, or the error stays."""
    if status not in _PASSING and status < 500:
        return 0.0
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return seconds if isfinite(seconds) else 0.0
