"""Values that recipes' presets share: `smoke` runs in seconds, `toy` learns within minutes."""

from dataclasses import replace

from wellread_hf.settings import Corpus, Optim, Pretrain, Task, Transfer, Tuning

# The smallest of the 24.
SMOKE_CORPUS = Corpus(sources=("toy:corpus@smoke",), tokenizer="toy:tokenizer@smoke")
SMOKE_TASK = Task(name="toy", data="toy:task@smoke")
SMOKE_TRANSFER = Transfer(sources=("toy:pool@smoke",))
# Words with a tag each, for the presets `smoke-tags`.
TAGS_TASK = Task(name="toy-tags", data="toy:tags@smoke")
TAGS_TRANSFER = Transfer(sources=("task", "toy:tags/pool@smoke"))
TAGS_TEACHER = "toy:teacher/tags@smoke"
SMOKE_ENCODER = "toy:encoder@smoke"
SMOKE_TEACHER = "toy:teacher@smoke"
# Two lengths, so that a smoke run crosses from one phase to the next.
SMOKE_PRETRAIN = Pretrain(
    steps=10,
    block_lengths=(32, 64),
    phase_shares=(0.9, 0.1),
    optim=Optim(learning_rate=1e-3, batch_size=8),
)
# Two evaluations, so that the better weights are loaded again at the end.
SMOKE_TUNING = Tuning(epochs=1, evaluations=2, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=8))

TOY_CORPUS = Corpus(sources=("toy:corpus",), tokenizer="toy:tokenizer")
TOY_TASK = Task(name="toy", data="toy:task")
# A text of the toy world has 14 words, so a block of 17 tokens holds one. Dropout only slows down a student
# that sees its corpus about once. What it takes to read within minutes: docs/log.md.
TOY_PRETRAIN = Pretrain(
    block_lengths=(17,),
    dropout=0.0,
    mask_share=0.3,
    optim=Optim(learning_rate=2e-3, batch_size=32, beta2=0.98, warmup=0.3),
)
# With fewer a student knows words, but reads no sentences: docs/log.md.
TOY_STEPS = 1_500
# Wider than the students, not deeper: a 4-256 read worse after a longer time (docs/log.md).
TOY_TEACHER_STUDENT = "2-256"
# Better than any student that is fine-tuned on the same labels, as the paper's teacher is.
TOY_TEACHER_PRETRAIN = replace(
    TOY_PRETRAIN, steps=2_000, optim=Optim(learning_rate=1e-3, batch_size=32, beta2=0.98)
)
# One learning rate serves every method alike, see docs/reproduction.md; the wider teacher has half of it.
TOY_TUNING = Tuning(epochs=15, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=32))
TOY_TEACHER_TUNING = replace(TOY_TUNING, optim=Optim(learning_rate=5e-4, batch_size=32))
