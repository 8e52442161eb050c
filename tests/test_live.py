"""The real Hub, by choice only: `pytest -m live` with a token of your own in HF_TOKEN.

It makes one private repository with a name of its own, pushes to it twice, verifies it, and deletes it.
"""

import uuid
from pathlib import Path

import pytest
from huggingface_hub import HfApi, get_token
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from wellread_hf.hub.publish import publish
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.hub.uploads import model_upload
from wellread_hf.hub.verify import verify

CARD = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# A test that deletes itself\n"


@pytest.mark.live
def test_the_real_hub_takes_a_push_and_a_second_one_only_reads(tmp_path: Path) -> None:
    token = get_token()
    if token is None:
        pytest.skip("no token in HF_TOKEN and nobody logged in")
    api = HfApi(token=token)
    name = f"wellread-live-{uuid.uuid4().hex[:12]}"
    namespace = api.whoami()["name"]
    settings = Publishing(namespace=namespace, collection=None, verify="download")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "."]
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(tmp_path)
    upload = model_upload(tmp_path, name, {"README.md": CARD})
    try:
        assert [result.state for result in publish([upload], settings, "0").repositories] == ["created"]
        assert api.model_info(f"{namespace}/{name}").private
        assert [result.state for result in publish([upload], settings, "0").repositories] == ["unchanged"]
        assert verify(f"{namespace}/{name}", api=api).files >= len(upload.files)
    finally:
        api.delete_repo(f"{namespace}/{name}", missing_ok=True)
