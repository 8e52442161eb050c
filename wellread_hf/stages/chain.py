"""The stages of one task that methods, students and seeds share, each planned with what must come first."""

from collections.abc import Sequence
from dataclasses import replace

from wellread_hf.settings import Corpus, Label, Objective, Pretrain, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages import distill, finetune, label, pretrain
from wellread_hf.stages.toy import Toy
from wellread_hf.store.graph import Stage


class Chain:
    """Plans single steps from text and labels to a student that knows a task.

    Args:
        task: What to learn; `toy` is understood.
        corpus: Text to pre-train on, and the tokenizer of random weights.
        toy: The toy world, for where settings say `toy`.
        running: How the stages are carried out.
        tokenizer: Tokenizer of random weights where another than the corpus' is wanted.
    """

    def __init__(
        self, task: Task, corpus: Corpus, toy: Toy, running: Running, tokenizer: str | None = None
    ) -> None:
        self.toy, self.running = toy, running
        self.task, self.corpus = toy.task(task), corpus
        self._tokenizer = tokenizer or corpus.tokenizer

    def pretrained(
        self, settings: Pretrain, sources: tuple[str, ...] | None = None, after: Sequence[Stage] = ()
    ) -> Stage:
        """Plans a masked LM on the corpus, or on other sources of text with the corpus' tokenizer.

        What stands in `settings` as the folder of a stage has that stage in `after`.
        """
        corpus = self.toy.corpus(self.corpus if sources is None else replace(self.corpus, sources=sources))
        return pretrain(settings, corpus, self.running, [*self.toy.after, *after])

    def random(self, student: str) -> Start:
        """Starts from random weights."""
        return self.toy.start(Start(student=student, tokenizer=self._tokenizer))

    def labelled(self, teacher: Stage | str, transfer: Transfer, settings: Label) -> Stage:
        """Plans a teacher's pass over a transfer set."""
        transfer = self.toy.transfer(transfer)
        name, made = (str(teacher.folder), [teacher]) if isinstance(teacher, Stage) else (teacher, [])
        return label(name, self.task, transfer, settings, self.running, [*self.toy.after, *made])

    def fine_tuned(self, start: Start | Stage, tuning: Tuning) -> Stage:
        """Plans training on the task's labels, from a start or from what a stage makes."""
        start, after = self._start(start)
        return finetune(start, self.task, tuning, self.running, after)

    def distilled(
        self, start: Start | Stage, labels: Stage, transfer: Transfer, objective: Objective, tuning: Tuning
    ) -> Stage:
        """Plans training on the soft labels of a transfer set, the same that they were made for."""
        start, after = self._start(start)
        transfer = self.toy.transfer(transfer)
        return distill(start, self.task, labels, transfer, objective, tuning, self.running, after)

    def _start(self, start: Start | Stage) -> tuple[Start, list[Stage]]:
        if isinstance(start, Stage):
            return Start(weights=str(start.folder)), [*self.toy.after, start]
        return start, list(self.toy.after)
