"""Flags that cannot be, and folders that cannot be written to."""

from __future__ import annotations

from .case import Case, Place

HELP = "{} || {} || polytask train --help"


def flag(case: str, words: str, says: str, verb: str = "train") -> Case:
    """A verb on the patients with these flags."""
    command = f"{verb} --data t.csv --targets progression high {words}"
    return Case(case, command, says, lambda p: p.write("t.csv"))


def model(place: Place) -> None:
    """A trained model where a study should go."""
    place.write("t.csv")
    place.write("model/polytask.json", "{}")


def study(place: Place) -> None:
    """A study where a model should go."""
    place.write("t.csv")
    place.write("study/study.yaml", "data: t.csv\n")
    place.write("study/config.yaml", "a: 1\n")


WHOLE = HELP.format("should be a whole number", "found {}")
FILE_BELOW = "cannot create the folder {} || t.csv is a file || Choose another place"
NOT_WRITABLE = "that can be written to || nothing can be written below /proc || Choose a place"

FLAGS = [
    flag(
        "fractions that leave nothing",
        "--test-fraction 0.6 --val-fraction 0.4",
        "expected less than 1 || test_fraction + val_fraction is 1 || Make one of them smaller",
    ),
    flag(
        "a percentage",
        "--test-fraction 20",
        HELP.format("a fraction between 0 and 1", "--test-fraction"),
    ),
    flag(
        "no validation",
        "--val-fraction 0",
        HELP.format("a fraction between 0 and 1", "found 0.0"),
    ),
    flag("batches of none", "--batch-size 0", HELP.format("at least 1", "found 0")),
    flag("batches of a half", "--batch-size 0.5", WHOLE.format("'0.5'")),
    flag("negative epochs", "--epochs -5", HELP.format("at least 1", "found -5")),
    flag("a million in short", "--epochs 1e6", WHOLE.format("'1e6'")),
    flag("learning rate 0", "--lr 0", HELP.format("a number above 0", "found 0.0")),
    flag("negative learning rate", "--lr -1", HELP.format("a number above 0", "found -1.0")),
    flag("a learning rate of words", "--lr fast", HELP.format("a number", "found 'fast'")),
    flag(
        "two learning rates",
        "--lr 0.1 0.01",
        "most flags take one only || no study file '0.01' || a value follows its --flag",
    ),
    flag("negative decay", "--weight-decay -0.1", HELP.format("0 or more", "found -0.1")),
    flag("warm-up of everything", "--warmup 1", HELP.format("from 0 to below 1", "found 1.0")),
    flag("negative seed", "--seed -1", HELP.format("0 or more", "found -1")),
    flag("seed as a word", "--seed random", WHOLE.format("'random'")),
    flag("patience 0", "--patience 0", HELP.format("at least 1", "found 0")),
    flag("clip at 0", "--clip-norm 0", HELP.format("a number above 0", "found 0.0")),
    flag(
        "fp16 on a CPU",
        "--precision fp16 --device cpu",
        "needs a CUDA device || this run is on 'cpu' || Use precision='bf16' or 'no'",
    ),
    flag("half precision", "--precision half", HELP.format("Known: bf16, fp16, no", "'half'")),
    flag(
        "a GPU that is not there",
        "--device cuda:77",
        "device='auto' or 'cpu' || device 'cuda:77' is not present || Use device",
    ),
    flag(
        "a device that is none",
        "--device gpu",
        "expected auto, cpu, cuda || unknown device 'gpu' || or cuda:N",
    ),
    flag(
        "a statistic for a method without one",
        "--method uncertainty --statistic tail",
        "reads loss values only || statistic='tail' has no meaning || leave statistic out",
    ),
    flag(
        "a statistic that the method lacks",
        "--method pcgrad --statistic losses",
        "statistic must be 'tail' || found 'losses' || 'features' or 'exact'",
    ),
    flag("a word for a number", "--method cagrad:c=high", HELP.format("a number", "found 'high'")),
    flag(
        "an argument out of range",
        "--method cagrad:c=-1",
        HELP.format("c must be at least 0", "found -1"),
    ),
    flag(
        "two methods to train with",
        "--method pcgrad mgda",
        "most flags take one only || no study file 'mgda' || a value follows its --flag",
    ),
    flag(
        "a main task that is none",
        "--method gcs:main=progresion",
        "Known: high, progression || unknown main task || did you mean 'progression'?",
    ),
    flag(
        "a main task by a number too high",
        "--method gcs:main=2",
        "there are 2 || the task in row 2 || Name it: main='NAME'",
    ),
    flag(
        "a mapping without a space",
        "--method linear:weights={high:2}",
        "as in '{price: 2}' || '{high:2}' has a name without a value || write a space",
    ),
    flag("a column to drop", "--drop sexx", HELP.format("did you mean 'sex'?", "drop: 'sexx'")),
    Case(
        "a table's flag with a data set",
        "train --data adult --drop age",
        "for a table of your own || --drop || the data set 'adult' comes with its own",
    ),
    flag(
        "out is a file",
        "--out t.csv",
        "not a folder || t.csv is a file || name a folder that is not there yet",
    ),
    flag("out below a file", "--out t.csv/model", FILE_BELOW.format("t.csv/model")),
    flag("out where nothing can be written", "--out /proc/polytask", NOT_WRITABLE),
    flag(
        "out is the working directory",
        "--out .",
        "one with a model to replace || . holds other files || name a new folder",
    ),
    Case(
        "out is a study",
        "train --data t.csv --targets high --out study",
        "one with a model to replace || study holds other files || name a new folder",
        study,
    ),
    Case(
        "out is a model",
        "compare --data t.csv --targets progression high --out model --seeds 1",
        "a folder that is new, empty or a study's || polytask.json || Name another one",
        model,
    ),
    flag("workers as a word", "--workers all", "a whole number || 'all' || --help", "compare"),
    flag(
        "the study's folder is a file",
        "--seeds 1 --out t.csv",
        "not a folder || t.csv is a file || name a folder that is not there yet",
        "compare",
    ),
    flag(
        "the study's folder below a file",
        "--seeds 1 --out t.csv/study",
        FILE_BELOW.format("t.csv/study"),
        "compare",
    ),
    Case(
        "a study of one task",
        "compare --data t.csv --targets high --out x",
        "Name at least two || found one task || polytask train",
        lambda p: p.write("t.csv"),
    ),
    Case(
        "predictions to a folder",
        "predict --model m --data t.csv --out folder.csv",
        "name a file in it || folder.csv is a folder || folder.csv/predictions.csv",
        lambda p: (p.write("t.csv"), (p.folder / "folder.csv").mkdir()),
    ),
    Case(
        "predictions below a file",
        "predict --model m --data t.csv --out t.csv/p.csv",
        FILE_BELOW.format("t.csv"),
        lambda p: p.write("t.csv"),
    ),
]
