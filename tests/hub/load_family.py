"""Loads models as a user does, with nothing of this package: python load_family.py NAMESPACE NAME..."""

import json
import sys

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

TEXT = "the quick brown fox is [MASK] lazy at all ."


def logits_of(name: str) -> list[float]:
    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForMaskedLM.from_pretrained(name).eval()
    with torch.no_grad():
        return [round(float(x), 5) for x in model(**tokenizer(TEXT, return_tensors="pt")).logits[0, 5]]


if __name__ == "__main__":
    namespace, *names = sys.argv[1:]
    found = {name: logits_of(f"{namespace}/{name}") for name in names}
    best = pipeline("fill-mask", f"{namespace}/{names[0]}")(TEXT)[0]
    print(json.dumps({"logits": found, "best": best["token_str"]}))
