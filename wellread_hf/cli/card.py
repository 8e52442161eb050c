"""`wellread card`: the model card of a run, or of one of the 24 students."""

from pathlib import Path

import tyro

from wellread_hf.errors import SettingsError, StoreError


def card(
    target: tyro.conf.Positional[str | None] = None,
    out: Path | None = None,
    all: tyro.conf.FlagCreatePairsOff[bool] = False,
    runs: Path | None = None,
    keep: Path | None = None,
    eval_results: tyro.conf.FlagCreatePairsOff[bool] = False,
    name: str | None = None,
    namespace: str | None = None,
) -> None:
    """Write the model card of a finished run, or of one of the 24 students.

    Args:
        target: Folder of a finished model, e.g. runs/pretrain-..., or a student, e.g. bert-4-256.
        out: Folder to write README.md and scores.png into; default: the run's own.
        all: Write the cards of the 24 students as NAME.md, without pictures.
        runs: With `all`: folder of finished stages, or of their records; of the sizes in it the cards say
            what is recorded.
        keep: With `runs`: folder that gets the records of this family without weights, a table and a picture.
        eval_results: Write .eval_results/glue.yaml too; the Hub takes it once GLUE is a benchmark there.
        name: Name of the repository; default: the student's, with the task's for a task student.
        namespace: User or organisation that it is pushed to.
    """
    from wellread_hf.hub.cards import facts_of_run, facts_of_student, render
    from wellread_hf.hub.cards.family import facts_of_family, family_files
    from wellread_hf.students import Student

    if out is not None and out.suffix == ".md":
        raise SettingsError(f"`out` {out}: expected a folder, which README.md goes into, got a file's name")
    if all:
        if target is not None or out is None or eval_results or name is not None:
            raise SettingsError(
                "`all` writes the cards of the 24 students: expected `out` FOLDER, and no target, `name` or "
                "`eval_results`; leave out one or the other"
            )
        if keep is not None and runs is None:
            raise SettingsError("`keep` copies records from `runs`, which is missing; give both")
        if keep is not None and runs is not None:
            for path, content in family_files(runs).items():
                _write(keep / path, content)
        for student, facts in facts_of_family(runs, namespace).items():
            _write(out / f"{student.name}.md", render(facts, picture=False).markdown.encode())
        return
    if runs is not None or keep is not None:
        raise SettingsError("`runs` and `keep` are for the cards of all 24; give `all`, or leave them out")
    if target is None:
        raise SettingsError("expected a run's folder or a student's name, got neither; or give `all`")
    folder = Path(target)
    if folder.is_dir():
        facts = facts_of_run(folder, name, namespace)
    elif "/" in target and not target.startswith("google/"):
        raise StoreError(
            f"expected a run's folder or a student's name, and there is no folder {target}; check it"
        )
    else:
        facts = facts_of_student(Student.parse(target), name, namespace)
        if out is None:
            raise SettingsError(f"{target} is a student, not a run, and has no folder; say where with `out`")
    for path, content in render(facts, eval_results=eval_results).files.items():
        _write((out or folder) / path, content)


def _write(path: Path, content: bytes) -> None:
    from wellread_hf.store.records import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}); give another folder with `out`") from error
    print(path)
