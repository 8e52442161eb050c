"""The language of a model, where what it was made of says so: its corpus, its task, its transfer set."""

import re
from collections.abc import Iterable, Iterator

from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.origins import Origin, Source
from wellread_hf.tasks import GLUE

ENGLISH = "en"
# Data sets that state English on the Hub.
_ENGLISH = {
    GLUE,
    *("stanfordnlp/imdb", "stanfordnlp/sst2", "Salesforce/wikitext", "bookcorpus/bookcorpus"),
    *("Skylion007/openwebtext", "HuggingFaceFW/fineweb", "HuggingFaceFW/fineweb-edu"),
}
# Data sets whose configurations are named for a language: `20231101.de`, `de`.
_BY_CONFIG = {"wikimedia/wikipedia", "allenai/c4", "uonlp/CulturaX"}


def languages_of(facts: Facts) -> tuple[str, ...]:
    """Returns the languages as ISO 639 codes, sorted; none where a part does not say.

    A size without weights of ours is Google's, in English. Where the maker has stated the corpus' languages,
    files of the user's own beside it are taken to be in them.
    """
    found = {ENGLISH} if facts.run is None else set(_parts(facts))
    if facts.pretraining is not None and facts.pretraining.languages:
        found.discard(None)
    return language_codes(found)


def language_codes(found: Iterable[str | None]) -> tuple[str, ...]:
    """Returns the languages of some parts, sorted; none where a part does not say, or there is none."""
    codes = set(found)
    return () if None in codes else tuple(sorted(map(str, codes)))


def _parts(facts: Facts) -> Iterator[str | None]:
    if facts.pretraining is not None:
        yield from facts.pretraining.languages or map(_of_source, facts.pretraining.sources or (None,))
    elif facts.adoption is not None:
        yield ENGLISH if facts.adoption.googles else None
    elif facts.base is not None:
        yield language_of(facts.base, None)
    if facts.own is not None:
        task, taught = facts.own.task, facts.own.teaching
        yield ENGLISH if task.glue else language_of(task.origin, task.config)
        if taught is not None:
            yield from (_of_source(part) for part in taught.labels.transfer if part is not None)


def _of_source(source: Source | None) -> str | None:
    return None if source is None else language_of(source.origin, source.config)


def language_of(origin: Origin, config: str | None) -> str | None:
    """Returns the language of a data set or model, where its name says it."""
    name = str(origin.hub_id)
    if name in _ENGLISH or name.startswith(("google/bert_uncased_L-", "google-bert/bert-base-uncased")):
        return ENGLISH
    code = re.fullmatch(r"(?:\d+\.)?([a-z]{2,3})", config or "")
    return code[1] if code and name in _BY_CONFIG else None
