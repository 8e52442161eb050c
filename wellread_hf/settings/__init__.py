"""Typed, frozen settings of every stage; the string below a field is its help on the command line."""

from wellread_hf.settings.data import Corpus as Corpus
from wellread_hf.settings.data import Task as Task
from wellread_hf.settings.data import Transfer as Transfer
from wellread_hf.settings.endpoint import Endpoint as Endpoint
from wellread_hf.settings.export import Export as Export
from wellread_hf.settings.imported import Imported as Imported
from wellread_hf.settings.measure import Budget as Budget
from wellread_hf.settings.measure import Measure as Measure
from wellread_hf.settings.mlm import Distil as Distil
from wellread_hf.settings.mlm import Init as Init
from wellread_hf.settings.mlm import Kept as Kept
from wellread_hf.settings.mlm import Pretrain as Pretrain
from wellread_hf.settings.picking import Picking as Picking
from wellread_hf.settings.prompt import Prompt as Prompt
from wellread_hf.settings.run import Case as Case
from wellread_hf.settings.run import Optim as Optim
from wellread_hf.settings.run import Precision as Precision
from wellread_hf.settings.run import Running as Running
from wellread_hf.settings.run import Schedule as Schedule
from wellread_hf.settings.serve import Serve as Serve
from wellread_hf.settings.training import Label as Label
from wellread_hf.settings.training import Lora as Lora
from wellread_hf.settings.training import Objective as Objective
from wellread_hf.settings.training import Start as Start
from wellread_hf.settings.training import Tuning as Tuning
