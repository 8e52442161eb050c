"""Studies of how a student is trained; figures of Turc et al. 2019, *measured* where read off a picture."""

from dataclasses import replace

from wellread_hf.experiments.study.arms import (
    BASIC,
    DISTILBERT,
    DISTILLATION,
    PATIENT,
    PD,
    PF,
    TF,
    TWO_BUDGETS,
    Finding,
    Study,
)
from wellread_hf.settings import Objective

METHODS = Study(
    title="Methods against student size",
    arms=(BASIC, DISTILLATION, PF, PD),
    findings=(
        Finding(
            text="pre-training and distilling beat pre-training and fine-tuning (PD > PF)",
            paper="PD 91.5, PF 87.5 (SST-2, mean of 24 students, measured)",
            more=("PD",),
            less=("PF",),
        ),
        Finding(
            text="pre-training helps distillation (PD > Distillation)",
            paper="PD 91.5, Distillation 84.1 (SST-2, mean of 24 students, measured)",
            more=("PD",),
            less=("Distillation",),
        ),
        Finding(
            text="pre-training helps fine-tuning (PF > Basic)",
            paper="PF 87.5, Basic 81.5 (SST-2, mean of 24 students, measured)",
            more=("PF",),
            less=("Basic",),
        ),
        Finding(
            text="pre-training is worth more than a teacher (PF > Distillation)",
            paper="PF 87.5, Distillation 84.1 (SST-2, mean of 24 students, measured)",
            more=("PF",),
            less=("Distillation",),
        ),
        Finding(
            text="a teacher helps without pre-training, too (Distillation > Basic)",
            paper="Distillation 84.1, Basic 81.5 (SST-2, mean of 24 students, measured)",
            more=("Distillation",),
            less=("Basic",),
        ),
    ),
    axis="student",
    remarks=(TWO_BUDGETS,),
)

_RANDOM = replace(DISTILLATION, series="random weights")
_EMBEDDINGS = replace(PD, series="word embeddings alone", weights="word embeddings")
_TRUNCATED = replace(PD, series="first layers of a deeper one", weights="truncated")
_PRETRAINED = replace(PD, series="pre-trained")
_WITH_SENTENCES = replace(PD, series="pre-trained, next sentences too", weights="pre-trained, MLM+")
INITIALISATION = Study(
    title="Initialisation, then distilled",
    arms=(_RANDOM, _EMBEDDINGS, _TRUNCATED, _PRETRAINED, _WITH_SENTENCES),
    findings=(
        Finding(
            text="a student pre-trained as it is beats a truncated one",
            paper="72.2 and 66.2 (Tiny), 78.4 and 77.0 (Mini; MNLI, measured)",
            more=(_PRETRAINED.name,),
            less=(_TRUNCATED.name,),
        ),
        Finding(
            text="a truncated student beats word embeddings alone",
            paper="66.2 and 61.1 (Tiny), 77.0 and 68.5 (Mini; MNLI, measured)",
            more=(_TRUNCATED.name,),
            less=(_EMBEDDINGS.name,),
        ),
        Finding(
            text="word embeddings alone beat random weights",
            paper="61.1 and 60.6 (Tiny), 68.5 and 66.0 (Mini; MNLI, measured)",
            more=(_EMBEDDINGS.name,),
            less=(_RANDOM.name,),
        ),
        Finding(
            text="predicting next sentences as well (MLM+) does no harm",
            paper="it pre-trains with MLM+ throughout, and compares no other",
            more=(_WITH_SENTENCES.name,),
            less=(_PRETRAINED.name,),
            claim="no worse",
            ours=True,
        ),
    ),
    axis="student",
    remarks=(
        "the first layers are those of a deeper masked LM, the word embeddings those of the pre-trained "
        "student; the cost of making these is not counted",
    ),
)

# Labels are seen as often as soft labels: one budget for all.
_PF, _TF, _DISTILBERT = (replace(arm, even=True) for arm in (PF, TF, DISTILBERT))
CONCURRENT = Study(
    title="The concurrent methods at one budget",
    arms=(_TF, _PF, _DISTILBERT, PATIENT, PD),
    findings=(
        Finding(
            text="PD beats PF",
            paper="PD 82.1, PF 81.6 (6-768, test, mean of six tasks of GLUE); 91.8 and 92.5 on SST-2",
            more=("PD",),
            less=("PF",),
        ),
        Finding(
            text="PF beats TF",
            paper="PF 81.6, TF 80.5 (6-768, test, mean of six tasks); 92.5 and 90.7 on SST-2",
            more=("PF",),
            less=("TF",),
        ),
        Finding(
            text="PD beats Patient KD",
            paper="PD 82.1, Patient KD 81.7 (6-768, test, mean of six tasks); 91.8 and 92.0 on SST-2",
            more=("PD",),
            less=("Patient KD",),
        ),
        Finding(
            text="PD beats DistilBERT",
            paper="PD 84.4, DistilBERT 82.3 (6-768, dev, mean of six tasks); 91.1 and 92.7 on SST-2",
            more=("PD",),
            less=("DistilBERT",),
        ),
    ),
    axis="arm",
    remarks=(
        "here labels are seen as often as soft labels, whatever the budget of labels is in other studies",
        "the cost of the deeper masked LM that TF and DistilBERT start from is not counted",
    ),
)

_OWN = "The paper has T = 1 and no hard labels, and compares no others"
_TEMPERATURES = {
    f"T = {t:g}": replace(PD, at=f"T = {t:g}", objective=Objective(temperature=t)) for t in (1.0, 2.0, 4.0)
}
_SHARES = {
    f"hard labels {share:.0%}": replace(
        PD,
        series="PD on the task's rows",
        at=f"hard labels {share:.0%}",
        # True labels are known for the task's own rows alone.
        transfer="task",
        objective=Objective(hard_label_share=share),
    )
    for share in (0.0, 0.5, 1.0)
}
TEMPERATURE = Study(
    title="Temperature and hard-label share",
    arms=(*_TEMPERATURES.values(), *_SHARES.values()),
    findings=(
        *(
            Finding(
                text=f"T = 1 is no worse than {other}",
                paper=_OWN,
                more=("PD, T = 1",),
                less=(f"PD, {other}",),
                claim="no worse",
                ours=True,
            )
            for other in ("T = 2", "T = 4")
        ),
        *(
            Finding(
                text=f"soft labels alone are no worse than {other}",
                paper=_OWN,
                more=("PD on the task's rows, hard labels 0%",),
                less=(f"PD on the task's rows, {other}",),
                claim="no worse",
                ours=True,
            )
            for other in ("hard labels 50%", "hard labels 100%")
        ),
    ),
    axis="arm",
    remarks=(
        "hard labels are true ones, of the task's own rows; at 100% no soft label counts, though rows are "
        "called so in the column of what was seen",
    ),
)
