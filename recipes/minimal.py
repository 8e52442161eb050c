"""Pre-trained Distillation in five blocks: the parts of the package in your own script, without its stages.

Runs in seconds on a CPU, without a network. Replace the texts, the size and the teacher's logits by yours.

  python recipes/minimal.py
"""

import torch
from datasets import Dataset
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
    TrainingArguments,
)

from wellread_hf import DistillationTrainer, MlmCollator

# 1. Data: text to read, and what a teacher said of some of it: one logit a class (negative, positive).
GOOD, BAD = ("gripping", "clever", "moving"), ("dull", "clumsy", "flat")
texts = [f"a {word} film , and a {word} story" for word in (*GOOD, *BAD) * 8]
teacher_logits = [[-2.0, 2.0] if any(word in text for word in GOOD) else [2.0, -2.0] for text in texts]
pieces = BertWordPieceTokenizer()
pieces.train_from_iterator(texts, vocab_size=100, min_frequency=1)
tokenizer = BertTokenizerFast(tokenizer_object=pieces._tokenizer)
rows = Dataset.from_dict({**tokenizer(texts), "teacher_logits": teacher_logits})

# 2. Model: a small BERT that first reads, by masked LM, what it will be taught on.
torch.manual_seed(0)
size = BertConfig(
    vocab_size=len(tokenizer),
    num_hidden_layers=2,
    hidden_size=64,
    num_attention_heads=2,
    intermediate_size=256,
)
reader = BertForMaskedLM(size)
collate = MlmCollator(tokenizer, seed=0)
optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3)
for epoch in range(3):
    blocks = [{"input_ids": ids, "epoch": epoch, "block": n} for n, ids in enumerate(rows["input_ids"])]
    batch = collate(blocks)
    logits = reader(batch["input_ids"]).logits
    masked = logits.gather(1, batch["positions"][..., None].expand(-1, -1, logits.shape[-1]))
    loss = torch.nn.functional.cross_entropy(masked.flatten(0, 1), batch["labels"].flatten())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
student = BertForSequenceClassification(size)
student.bert.load_state_dict(reader.bert.state_dict(), strict=False)  # all but the pooler, which is new

# 3. Arguments: plain transformers.
args = TrainingArguments(
    "runs/minimal", num_train_epochs=5, learning_rate=2e-3, save_strategy="no", report_to="none"
)

# 4. Trainer: the loss is the soft cross-entropy with the teacher's logits.
trainer = DistillationTrainer(model=student, args=args, train_dataset=rows, processing_class=tokenizer)
trainer.train()

# 5. Evaluation: how often the student agrees with its teacher.
says = torch.tensor(trainer.predict(rows).predictions).argmax(-1)
print(f"agreement: {(says == torch.tensor(teacher_logits).argmax(-1)).float().mean():.2f}")
