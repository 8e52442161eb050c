"""Asks a server that speaks OpenAI's protocol which label word it would answer with: one token a prompt.

The `openai` package repeats a request after 408, 409, 429, 5xx, a time-out or a broken connection, and waits
as `Retry-After` says, up to two minutes. Longer waits are kept here.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from wellread_hf.errors import EndpointError, SettingsError, cause, library_errors_as, one_line
from wellread_hf.labelling.answers import LITTLE, Answer, Journal
from wellread_hf.labelling.completions import answer_of, constraint, requested_wait
from wellread_hf.settings import Endpoint
from wellread_hf.store.progress import say

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI

# The `openai` package waits up to this by itself (its MAX_RETRY_AFTER_DELAY), in seconds.
_PACKAGE_WAITS = 120.0
# A longer wait is for a person to decide about.
_LONGEST_WAIT = 3_600.0
# Seconds for answers that are on their way, and paid for, when a row is given up.
_GRACE = 10.0
# Statuses of a field that a server does not know; 422 of those that check requests with pydantic.
_REFUSED = (400, 422)
# Prompts that may be refused one by one, by a content filter for instance: so many, or this share of all.
_FEW, _FEW_SHARE = 3, 0.01
# Prompts after which the run ends if nearly none of them is answered with a label word.
_FIRST, _NEARLY_ALL = 64, 0.9
_KEPT = "every answer so far is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Question:
    """A row that is asked about.

    Attributes:
        key: What its answer is kept under; two rows of one text have one.
        name: What errors call the row.
        texts: Its texts, one a column.
        is_free: Whether the answer is not limited to the label words, so that it shows their mass.
    """

    key: str
    name: str
    texts: tuple[str, ...]
    is_free: bool = False


def openai_package() -> Any:
    """Imports the package of the protocol.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise SettingsError(
            '`endpoint.url` needs the package openai; install it with pip install "wellread-hf[endpoint]"'
        ) from error
    return openai


class Asker:
    """Asks a server for label words.

    Args:
        prompts: Makes the prompt of a row's texts.
        words: The label words.
        endpoint: The server.
        key: For the server; empty: none.

    Attributes:
        retries: Requests that were repeated.
    """

    def __init__(
        self, prompts: Callable[[Sequence[str]], str], words: Sequence[str], endpoint: Endpoint, key: str
    ) -> None:
        self._prompts, self._words, self._endpoint, self._key = prompts, words, endpoint, key
        self._openai = openai_package()
        # Not known before the first request that has the constraint.
        self._constrained: bool | None = None
        self._settling, self._ended, self._judged = asyncio.Lock(), False, False
        # Masses of answers that were not limited to the label words, and the number of refused prompts.
        self._free, self._refused = list[float](), 0
        self.retries = 0

    def ask_all(self, questions: Iterable[Question], journal: Journal, shown: Any) -> None:
        """Asks what the journal has no answer to, each key once, several at a time.

        Each answer is in the journal before the same worker asks again, so a kill loses those that are on
        their way and no other. When a row is given up, answers on their way are waited for.

        Args:
            questions: In any order; read as they are asked.
            journal: Receives the answers.
            shown: A progress bar that counts prompts.

        Raises:
            EndpointError: The server refuses the first request or more than a few, has no log-probabilities,
                or gives no answer after all retries; or the label words are nearly no answer to the first
                prompts.
        """
        for answer in journal.answers.values():
            self._see(answer)
        asyncio.run(self._ask_all(_unanswered(questions, journal), journal, shown))

    async def _ask_all(self, left: Iterator[Question], journal: Journal, shown: Any) -> None:
        async with self._openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._endpoint.url,
            max_retries=self._endpoint.retries,
            timeout=self._endpoint.timeout,
        ) as client:
            for first in left:
                # Alone, since what is wrong with it is wrong with all.
                self._keep(first, await self._answer(client, first), journal, shown)
                break
            workers = [
                asyncio.create_task(self._work(client, left, journal, shown))
                for _ in range(self._endpoint.concurrency)
            ]
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            self._ended = True
            await asyncio.wait(workers, timeout=_GRACE)
            for worker in workers:
                worker.cancel()
            for result in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _work(
        self, client: "AsyncOpenAI", left: Iterator[Question], journal: Journal, shown: Any
    ) -> None:
        for question in left:
            try:
                answer = await self._answer(client, question)
            except _Refused as refused:
                if self._refused >= max(_FEW, _FEW_SHARE * len(journal.answers)):
                    raise
                answer = Answer.of_refusal(refused.said, len(self._words))
            self._keep(question, answer, journal, shown)
            if self._ended:
                return

    def _keep(self, question: Question, answer: Answer, journal: Journal, shown: Any) -> None:
        journal.add(question.key, answer)
        shown.update()
        self._see(answer)
        if not self._judged and len(self._free) >= _FIRST:
            self._judged = True
            _check_prompt(self._free, self._prompts(question.texts))

    def _see(self, answer: Answer) -> None:
        """Counts an answer: a pass over all of them for each would take hours of a million."""
        if answer.refused is not None:
            self._refused += 1
        elif not answer.constrained:
            self._free.append(answer.mass)

    async def _answer(self, client: "AsyncOpenAI", question: Question) -> Answer:
        if question.is_free:
            return await self._asked(client, question, constrained=False)
        async with self._settling:
            if self._constrained is None:
                return await self._first_constrained(client, question)
        return await self._asked(client, question, self._constrained)

    async def _first_constrained(self, client: "AsyncOpenAI", question: Question) -> Answer:
        """Asks with the constraint, and without it where the server refuses it: then for all that follow."""
        try:
            answer = await self._asked(client, question, constrained=True)
        except _Refused as refused:
            answer = await self._asked(client, question, constrained=False)
            say(
                f"note: {self._endpoint.url} takes no list of label words ({refused.said}); the answers are "
                "not limited to them"
            )
        self._constrained = answer.constrained
        return answer

    async def _asked(self, client: "AsyncOpenAI", question: Question, constrained: bool) -> Answer:
        completion = await self._completion(client, question, constrained)
        with library_errors_as(EndpointError, f"{question.name}: {self._endpoint.url}", _KEPT):
            return answer_of(completion, self._words, constrained)

    async def _completion(self, client: "AsyncOpenAI", question: Question, constrained: bool) -> Any:
        # Without a key no header is sent.
        headers = None if self._key else {"Authorization": self._openai.Omit()}
        for attempt in range(self._endpoint.retries + 1):
            try:
                raw = await client.chat.completions.with_raw_response.create(
                    model=str(self._endpoint.model),
                    messages=[{"role": "user", "content": self._prompts(question.texts)}],
                    max_tokens=1,
                    temperature=0,
                    logprobs=True,
                    top_logprobs=self._endpoint.top_logprobs,
                    extra_headers=headers,
                    extra_body=constraint(self._words) if constrained else None,
                )
                self.retries += raw.retries_taken
                return raw.parse()
            except self._openai.APIStatusError as error:
                wait = requested_wait(error.status_code, error.response.headers)
                if not _PACKAGE_WAITS < wait <= _LONGEST_WAIT or attempt == self._endpoint.retries:
                    raise self._refusal(error, question, wait) from error
                say(f"note: {self._endpoint.url} answers {error.status_code} and asks to wait {wait:,.0f} s")
                await asyncio.sleep(wait)
                self.retries += 1
            except self._openai.APIError as error:
                raise self._failure(question, f"no answer ({self._said(error)})") from error
            except ValueError as error:
                raise self._failure(question, f"one that is not JSON ({cause(error)})") from error
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, error: "APIStatusError", question: Question, wait: float) -> EndpointError:
        status, said, url = error.status_code, self._said(error), self._endpoint.url
        variable = self._endpoint.key_env
        if status in (401, 403):
            given = f"the key in {variable}" if self._key else "no key, as there is none in the environment"
            return EndpointError(
                f"{url} answers {status} ({said}): expected a key that it takes, got {given}; put one into "
                f"the environment variable {variable}, or name another with `endpoint.key_env`"
            )
        if status == 404:
            return EndpointError(
                f"{url} answers 404 ({said}): expected a server of OpenAI's protocol that has the model "
                f"{self._endpoint.model}; check `endpoint.url`, which ends in /v1 as a rule, and "
                "`endpoint.model`"
            )
        if status in _REFUSED:
            refused = _Refused(str(self._failure(question, f"{status} ({said})")))
            refused.said = said
            return refused
        later = f", which asks to come back in {wait:,.0f} s" if wait > _LONGEST_WAIT else ""
        return self._failure(question, f"{status} ({said}){later}")

    def _failure(self, question: Question, what: str) -> EndpointError:
        return EndpointError(
            f"{question.name}: expected an answer from {self._endpoint.url}, got {what}; {_KEPT}"
        )

    def _said(self, error: "APIError") -> str:
        """Returns what the server or the network says, without the key, which a server may quote."""
        body = error.body
        said = str(body.get("message") or "") if isinstance(body, Mapping) else str(body or "")
        if not said:
            said = cause(error.__cause__ or error) + (_by_proxy(self._endpoint) if body is None else "")
        if isinstance(error, self._openai.APITimeoutError):
            said = f"nothing within {self._endpoint.timeout:g} s"
        return one_line(said.replace(self._key, "[the key]") if self._key else said, 200)


def _by_proxy(endpoint: Endpoint) -> str:
    """Names the proxy of the environment, which the package asks servers of this machine through, too."""
    parts = urlsplit(str(endpoint.url))
    if parts.scheme not in getproxies() or proxy_bypass(str(parts.hostname)):
        return ""
    return f", through the proxy in {parts.scheme.upper()}_PROXY; NO_PROXY={parts.hostname} asks without it"


class _Refused(EndpointError):
    """The server does not take a request.

    Attributes:
        said: What it says.
    """

    said = ""


def _unanswered(questions: Iterable[Question], journal: Journal) -> Iterator[Question]:
    """Yields what is left to ask, each key once."""
    asked = set[str]()
    for question in questions:
        if question.key not in journal.answers and question.key not in asked:
            asked.add(question.key)
            yield question


def _check_prompt(masses: Sequence[float], prompt: str) -> None:
    """Refuses a prompt that hardly any row answers with a label word, before all are asked and paid for."""
    little = sum(mass < LITTLE for mass in masses)
    if little > _NEARLY_ALL * len(masses):
        raise EndpointError(
            f"`prompt.template`: expected a prompt whose answer is a label word; for {little} of the first "
            f"{len(masses)} prompts these have less than {100 * LITTLE:g} % of the probability; change it or "
            f"`prompt.label_words`. It ends {one_line(prompt[-80:])!r}"
        )
