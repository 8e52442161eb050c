"""A causal language model as a teacher: the log-probabilities of label words after a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from wellread_hf.errors import DataError
from wellread_hf.labelling.prompt_reader import PromptReader, shared_prefix
from wellread_hf.labelling.shards import Arrays
from wellread_hf.labelling.soft_labels import Logits, Texts
from wellread_hf.models.continuations import Continuations, Ids
from wellread_hf.models.infer import longest_first
from wellread_hf.store.progress import bar, log

# Prompts tokenised in one call.
_BATCH = 1_024
# Zhao et al. 2021, section 5: "an ensemble of content-free inputs".
CONTENT_FREE = ("N/A", "[MASK]", "")


@dataclass(frozen=True, slots=True)
class EncodedPrompts:
    """Tokenised prompts.

    Attributes:
        prefix: [P] what all begin with.
        rests: The other tokens of each, one or more.
    """

    prefix: Ids
    rests: list[Ids]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row that no other row's pass has read."""
        return np.array([len(rest) for rest in self.rests], dtype=np.int64)


class CausalLabeller:
    """A `label_rows.Labeller`.

    Args:
        reader: How the model reads prompts.
        scorer: The model, with the label words' tokens.
        positions: Tokens that the model takes; None where nothing limits them.
    """

    def __init__(self, reader: PromptReader, scorer: Continuations, positions: int | None) -> None:
        self.reader, self.scorer, self.positions = reader, scorer, positions
        self.content_free = np.zeros(len(reader.words), dtype=np.float32)
        self._reported = False

    def calibrate(self) -> None:
        """From now on takes off the log-probabilities [C] of words after texts without content.

        Zhao et al. 2021, "Calibrate Before Use": the mean of the words' normalised probabilities over three
        such texts is divided out (W = diag(p)^-1, b = 0). What is then divided by the sum over the words are
        probabilities again; their order is that of the source.
        """
        columns = len(self.reader.prompts.columns)
        found = self.logits_of([(text,) * columns for text in CONTENT_FREE])
        normalised = found - logsumexp(found, axis=1, keepdims=True)
        mean = logsumexp(normalised, axis=0) - np.log(len(CONTENT_FREE))
        self.content_free = mean.astype(np.float32)

    def encode(self, texts: Texts, before: int) -> EncodedPrompts:
        """Fills the template with rows and tokenises their prompts.

        Raises:
            DataError: A prompt is longer than the model takes.
        """
        longest = max(map(len, self.reader.words)) - 1
        rows: list[Ids] = []
        with bar("tokenising", "rows", len(texts)) as shown:
            for start in range(0, len(texts), _BATCH):
                rows += self.reader.read(texts[start : start + _BATCH])
                shown.update(min(_BATCH, len(texts) - start))
        for number, row in enumerate(rows, start=before + 1):
            if self.positions is not None and len(row) + longest > self.positions:
                raise DataError(
                    f"row {number}: expected a prompt and word of at most {self.positions} tokens, as "
                    f"many as the teacher takes, got {len(row) + longest}; take fewer `prompt.shots`, a "
                    "shorter template, or a smaller `max_length`, which cuts the texts"
                )
        self._report_cut()
        shared = shared_prefix(rows)
        return EncodedPrompts(rows[0][:shared], [row[shared:] for row in rows])

    def label(self, encoded: EncodedPrompts, rows: npt.NDArray[np.int64], shown: Any) -> Arrays:
        """Returns `logits` [n, C], the words' log-probabilities, calibrated ones if asked for."""
        found = self.scorer.scores(encoded.prefix, [encoded.rests[row] for row in rows], shown)
        return {"logits": found - self.content_free}

    def fits(self, shard: Arrays) -> bool:
        """Returns True: nothing is stored beside the logits."""
        return True

    def logits_of(self, texts: Sequence[tuple[str, ...]]) -> Logits:
        """Returns the logits [n, C] of some texts in their order."""
        encoded = self.encode(texts, 0)
        order = longest_first(encoded.lengths)
        with bar("scoring", "rows", len(order)) as shown:
            found = self.label(encoded, order, shown)["logits"]
        logits: Logits = np.empty_like(found)
        logits[order] = found
        return logits

    def _report_cut(self) -> None:
        if self.reader.cut and not self._reported:
            self._reported = True
            log(
                f"texts of more than {self.reader.max_length} tokens are cut: {self.reader.cut:,} so far; a "
                "larger `max_length` keeps more of them"
            )
