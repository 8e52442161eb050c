"""Small random language models of several families, a tokenizer, and the plain loop over rows and words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIALS = ["<|start|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES = {
    "llama": lambda **more: tf.LlamaForCausalLM(
        tf.LlamaConfig(**SIZES, num_key_value_heads=2, initializer_range=0.3, **more)
    ),
    "qwen2": lambda **more: tf.Qwen2ForCausalLM(
        tf.Qwen2Config(**SIZES, num_key_value_heads=2, initializer_range=0.3, **more)
    ),
    "qwen3": lambda **more: tf.Qwen3ForCausalLM(
        tf.Qwen3Config(**SIZES, head_dim=8, num_key_value_heads=2, initializer_range=0.3, **more)
    ),
    "gpt2": lambda **more: tf.GPT2LMHeadModel(
        tf.GPT2Config(n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, **more)
    ),
    # Keys and values of a window alone.
    "mistral": lambda **more: tf.MistralForCausalLM(
        tf.MistralConfig(
            **SIZES, num_key_value_heads=2, **{"sliding_window": 8, "initializer_range": 0.3} | more
        )
    ),
    # Of a window in each other layer.
    "gemma2": lambda **more: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(**SIZES, head_dim=8, num_key_value_heads=2, initializer_range=0.3, **more)
    ),
    # Knows no positions, and is given none.
    "bloom": lambda **more: tf.BloomForCausalLM(
        tf.BloomConfig(hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3, **more)
    ),
    # No keys and values, but a state.
    "mamba": lambda **more: tf.MambaForCausalLM(
        tf.MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.3, **more)
    ),
}


def byte_tokenizer(texts: Sequence[str], words: int = 300, chat: bool = False, start: bool = False) -> Any:
    """A byte-level BPE as GPT-2's or Llama 3's, trained on texts; `start` puts a token before each."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=words, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
        ),
    )
    found = tf.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|start|>", pad_token="<|pad|>")
    if start:
        found.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|start|> $A", special_tokens=[("<|start|>", 0)]
        )
    if chat:
        found.chat_template = CHAT
    return found


def random_model(family: str, tokenizer: Any, seed: int = 0, **more: Any) -> Any:
    torch.manual_seed(seed)
    return FAMILIES[family](vocab_size=len(tokenizer), **more).eval()


def saved(folder: Path, family: str, tokenizer: Any, **more: Any) -> str:
    random_model(family, tokenizer, **more).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@torch.inference_mode()
def plain_loop(model: Any, tokenizer: Any, prompts: Sequence[str], words: Sequence[str]) -> torch.Tensor:
    """Log-probabilities [n, C] of words after prompts: each pair by itself, as one text.

    Prompts are as the model reads them, and words as they are joined to them.
    """
    found = torch.empty(len(prompts), len(words))
    special = not any(prompt.startswith("<|") for prompt in prompts)
    for row, prompt in enumerate(prompts):
        for column, word in enumerate(words):
            before = len(tokenizer(prompt, add_special_tokens=special).input_ids)
            ids = tokenizer(prompt + word, add_special_tokens=special, return_tensors="pt").input_ids
            likely = model(input_ids=ids).logits[0].log_softmax(dim=-1)
            found[row, column] = sum(
                likely[place - 1, ids[0, place]] for place in range(before, ids.shape[1])
            )
    return found
