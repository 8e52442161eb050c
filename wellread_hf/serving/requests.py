"""What a request to the server asks for, or why it gets no answer."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.serving.onnx_model import Text

_FORM = (
    "`inputs` must be a text, a pair [text, text], or a batch of lists of one or two texts, "
    '[["a"], ["b", "c"]]'
)


class Refused(Exception):
    """A request that gets no answer: its status, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def asked_of(body: bytes) -> Mapping[str, Any]:
    """Returns the object of a request's body."""
    try:
        found = json.loads(body)
    except UnicodeDecodeError:
        raise Refused(422, "expected JSON in UTF-8, got other bytes") from None
    except RecursionError:
        raise Refused(422, "expected JSON of ordinary depth, got one that is nested too deeply") from None
    except ValueError as error:
        raise Refused(422, f"expected JSON, got something else ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise Refused(422, f"expected a JSON object with `inputs`, got {type(found).__name__}")
    if "inputs" not in found:
        raise Refused(422, "expected a JSON object with `inputs`, got one without")
    return found


def texts_of(inputs: Any) -> tuple[list[Text], bool]:
    """Returns the texts that were asked for, and whether it is one that is no batch."""
    if isinstance(inputs, list) and inputs and all(isinstance(each, list) for each in inputs):
        return [_text(each) for each in inputs], False
    return [_text(inputs if isinstance(inputs, list) else [inputs])], True


def _text(parts: list[Any]) -> Text:
    if not 1 <= len(parts) <= 2 or not all(isinstance(part, str) for part in parts):
        raise Refused(422, f"{_FORM}; got something else")
    if not all(parts):
        raise Refused(422, "expected a text, got an empty one")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def check_words(texts: Sequence[Text], raw: bool) -> None:
    """Refuses what has no meaning for a classifier of words."""
    if not all(isinstance(text, str) for text in texts):
        raise Refused(422, "expected one text a row, as this model classifies words, got a pair")
    if raw:
        raise Refused(422, "`raw_scores` must be false or left out, as this model answers with entities")


def flag(asked: Mapping[str, Any], name: str) -> bool:
    """Returns a setting of a request that is true or false; false without it."""
    value = asked.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(422, f"`{name}` must be true or false, got {json.dumps(value)[:40]}")
    return bool(value)
