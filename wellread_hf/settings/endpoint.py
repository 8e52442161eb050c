"""Settings of a server that is asked for labels."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from wellread_hf.settings.fields import Number, Several, Whole, checked

# Per million tokens, in whatever money.
Price = Annotated[Number, Field(ge=0, le=1e6)]


def _plain_address(url: str) -> str:
    # No message quotes the address: what is wrong with it may be a password.
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # read here, where one that is no number is refused
    except ValueError:
        raise ValueError("expected an address such as http://localhost:8000/v1; check it") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "expected an address without a user, a password or anything after `?` or `#`, since it is "
            "written to records; put the key into the environment and name its variable with "
            "`endpoint.key_env`"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            "expected the address of a server, http or https, such as http://localhost:8000/v1; check it"
        )
    return url.rstrip("/")


def _name_of_a_variable(name: str) -> str:
    # Keys have small letters or hyphens: one that is given here by mistake is not quoted either.
    if re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name) is None:
        raise ValueError(
            "expected the name of an environment variable in capitals, such as OPENAI_API_KEY, and not the "
            "key itself"
        )
    return name


@checked("endpoint")
class Endpoint:
    """A server that speaks OpenAI's protocol (vLLM, TGI, llama.cpp, hosted ones), and how it is asked."""

    url: Annotated[str, AfterValidator(_plain_address)] | None = None
    """Base address of a server that speaks OpenAI's protocol, e.g. http://localhost:8000/v1."""
    model: str | None = None
    """The model's name there."""
    # The package's own default. The key itself is no setting: settings are written down.
    key_env: Annotated[str, AfterValidator(_name_of_a_variable)] = "OPENAI_API_KEY"
    """Environment variable that holds the key. Local servers need none."""
    concurrency: Several = 8
    """Requests at a time."""
    # The most that OpenAI gives, and that vLLM gives by default.
    top_logprobs: Annotated[Whole, Field(ge=2, le=1_000)] = 20
    """Likeliest tokens whose log-probabilities are asked for; some servers give 5 at most."""
    # ± 2 % of an accuracy near 90 %, as a 95 % interval.
    validation_rows: Annotated[Whole, Field(ge=0, le=1_000_000)] = 500
    """Labelled validation rows that are asked as well, to score the model; 0: none."""
    price_in: Price | None = None
    """Price of a million tokens of prompts, to report the cost beforehand."""
    price_out: Price | None = None
    """Price of a million tokens of answers."""
    retries: Annotated[Whole, Field(ge=0, le=100)] = 8
    """Times that a request is repeated after an error that may pass, waiting as the server says."""
    timeout: Annotated[Number, Field(gt=0, le=86_400)] = 120.0
    """Seconds that an answer may take."""
