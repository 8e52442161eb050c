"""A language model as teacher beside the usual loop: each row with each label word, one at a time.

  python -m benchmarks --only teachers

Teacher: a Llama of 4 layers and width 256, random weights. Rows: benchmarks/sst2.py, after an instruction and
four examples. Both sides start from text. The loop asks for the logits of the words' positions alone.
"""

import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sst2 import Texts, rows, tokenizer
from wellread_hf.labelling.causal_labeller import CausalLabeller
from wellread_hf.labelling.prompt_reader import PromptReader
from wellread_hf.labelling.prompts import Example, Prompts, prompts_of
from wellread_hf.models.continuations import Continuations
from wellread_hf.settings import Label
from wellread_hf.store.progress import quiet
from wellread_hf.tasks import GLUE_TASKS

NAME = "prompted"
_ROUNDS = 5
_TEMPLATE = (
    "w1 w2 w3 w4 w5 w6 w7 w8 {{ labels | join(' w9 ') }}\n"
    "{% for example in examples %}w10 {{ example.sentence }} w11 {{ example.label }}\n{% endfor %}"
    "w10 {{ sentence }} w11"
)
# One token a word, and several.
_WORDS = {"words of one token": ("w20", "w21"), "words of two tokens": ("w20 w22", "w21 w23")}


def run(rounds: int, quick: bool) -> list[Figure]:
    """Labels the same rows both ways in turn."""
    texts, _ = rows(24 if quick else 256)
    examples = [Example(text, int(label)) for text, label in zip(*rows(4), strict=True)]
    model = _model(quick)
    figures = []
    for case, words in _WORDS.items():
        prompts = prompts_of(_TEMPLATE, "benchmark", GLUE_TASKS["sst2"], words, examples)
        found: dict[str, npt.NDArray[np.float32]] = {}

        def ours(prompts: Prompts = prompts, found: dict[str, Any] = found) -> float:
            started = time.perf_counter()
            with quiet():
                reader = PromptReader(tokenizer(), prompts, "no", 128, texts[:2])
                scorer = Continuations(model, reader.words, Label().batch_tokens)
                found["ours"] = CausalLabeller(reader, scorer, None).logits_of(texts)
            return time.perf_counter() - started

        def theirs(prompts: Prompts = prompts, found: dict[str, Any] = found) -> float:
            started = time.perf_counter()
            found["theirs"] = _loop(model, prompts, texts)
            return time.perf_counter() - started

        seconds = in_turn(ours, theirs, min(rounds, _ROUNDS))
        difference = float(np.abs(found["ours"] - found["theirs"]).max())
        assert difference < 1e-4, f"log-probabilities of ours and the loop differ by {difference}"
        figures.append(
            Figure(
                benchmark=NAME,
                case=case,
                ours="label --prompt",
                theirs="a loop over rows and label words",
                unit="rows/s",
                ours_values=tuple(len(texts) / value for value in seconds[0]),
                theirs_values=tuple(len(texts) / value for value in seconds[1]),
                ratios=compared(seconds[0], seconds[1], "lower"),
                target=None if quick else 5.0,
                better="higher",
                same=f"log-probabilities differ by {difference:.0e} at most",
                note=f"{len(texts)} rows of {'SST-2' if 'SST2' in os.environ else 'its lengths'}",
            )
        )
    return figures


def _model(quick: bool) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    width, layers = (64, 2) if quick else (256, 4)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer()),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
        )
    ).eval()


def _loop(model: Any, prompts: Prompts, texts: Texts) -> npt.NDArray[np.float32]:
    import torch

    words = tokenizer()
    found = np.empty((len(texts), len(prompts.words)), dtype=np.float32)
    with torch.inference_mode():
        for row, text in enumerate(texts):
            before = words(prompts(text), add_special_tokens=False)["input_ids"]
            for column, word in enumerate(prompts.words):
                after = words(word, add_special_tokens=False)["input_ids"]
                ids = torch.tensor([[words.cls_token_id, *before, *after]])
                logits = model(input_ids=ids, logits_to_keep=len(after) + 1).logits[0, :-1]
                likely = logits.log_softmax(dim=-1)
                found[row, column] = sum(likely[place, token] for place, token in enumerate(after))
    return found
