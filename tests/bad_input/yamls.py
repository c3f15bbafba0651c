"""Studies in YAML that cannot be."""

from __future__ import annotations

from .case import Case, Make, Place

DATA = "data: t.csv\ntargets: [progression, high]\n"


def study(case: str, content: str | bytes, says: str, verb: str = "compare") -> Case:
    """A verb that reads `content` from a file, with the patients beside it.

    What begins with '+' is put behind the words for the data.
    """

    def make(place: Place) -> None:
        text = DATA + content[1:] if isinstance(content, str) and content[:1] == "+" else content
        place.write("study.yaml", text)
        place.write("t.csv")

    return Case(f"YAML: {case}", f"{verb} study.yaml", says, make)


def other(case: str, words: str, make: Make, says: str) -> Case:
    return Case(f"YAML: {case}", words, says, make)


LOADER = "Only names, numbers, lists and mappings are read || {} || no objects"

YAMLS = [
    study(
        "unknown key",
        "+batchsize: 3",
        "Known: accumulate || unknown key 'batchsize' || did you mean 'batch_size'?",
    ),
    study(
        "key of another verb",
        "+seed: 3",
        "Known: accumulate || unknown key 'seed' || did you mean 'seeds'?",
    ),
    study("a list for one value", "+epochs: [3, 4]", "a whole number || [3, 4] || give one value"),
    study("a mapping for one value", "+epochs: {max: 3}", "a whole number || {'max': 3} || --help"),
    study("a number for a name", "+methods: 3", "Known: adaloss, || unknown method '3' || in all)"),
    study("no methods", "+methods: []", "at least one value || methods in study.yaml || --help"),
    study(
        "a method of nothing",
        "+methods: [linear, null]",
        "write a word there || holds an empty entry || or remove it",
    ),
    study(
        "unknown nested argument",
        "+methods: [{pcgrad: {dept: 3}}]",
        "Known: audit_every || argument of method pcgrad: 'dept' || did you mean 'depth'?",
    ),
    study(
        "nested argument of another type",
        "+methods: [{cagrad: {c: high}}]",
        "should be a number || method cagrad: c || found 'high'",
    ),
    study(
        "nested argument out of range",
        "+methods: [{cagrad: {c: -1}}]",
        "at least 0 || found -1 || method cagrad: c",
    ),
    study(
        "nested list for a number",
        "+methods: [{stch: {mu: [1, 2]}}]",
        "should be a number || found [1, 2] || method stch: mu",
    ),
    study(
        "nested word that is none of the words",
        "+methods: [{mgda: {normalization: l3}}]",
        "Known: l2, loss || 'l3' || did you mean 'l2'?",
    ),
    study(
        "an object for an argument",
        "+methods: [{rlw: {generator: 3}}]",
        "set only from Python || 'generator' is an object || method rlw",
    ),
    study(
        "two methods in one entry",
        "+methods: [{pcgrad: {}, mgda: {}}]",
        "expected a name || found {'pcgrad': {}, 'mgda': {}} || as in {mgda: {depth: 1}}",
    ),
    study(
        "unknown argument of an encoder",
        "+encoder: {mlp: {hiden: [8]}}",
        "Known: dropout || argument of encoder mlp: 'hiden' || did you mean 'hidden'?",
    ),
    study(
        "encoder of wrong widths",
        "+encoder: {mlp: {hidden: [0]}}",
        "a list of whole numbers above 0 || Found [0] || such as (128, 64)",
    ),
    study(
        "a word for widths",
        "+encoder: {mlp: {hidden: wide}}",
        "a list such as [256,128] || found 'wide' || default (256, 128)",
    ),
    study(
        "an encoder of images for a table",
        "+encoder: resnet",
        "reads images || found none || For tables use the encoder mlp",
    ),
    study(
        "unknown argument of an architecture",
        "+architectures: [{hard_sharing: {heads_hidden: [3]}}]",
        "Known: head_hidden || 'heads_hidden' || did you mean 'head_hidden'?",
    ),
    study(
        "the yardstick as a candidate",
        "+architectures: [single_task]",
        "name a way of sharing too || 'single_task' is in every study || such as 'hard_sharing'",
    ),
    study("seeds as a list", "+seeds: [0, 1]", "a whole number || found [0, 1] || write how many"),
    study("negative seed", "+seed: -1", "should be 0 or more || found -1 || --help", "train"),
    study(
        "a time of day",
        "+max_time: 18:30",
        "should be a time such as 90 || found '18:30' || 10m or 2h",
    ),
    study("yes for a number", "+epochs: yes", "a whole number || found 'yes' || --help"),
    study("no for yes or no", "+dry_run: perhaps", "true or false || found 'perhaps' || --help"),
    study("infinity", "+lr: [.inf]", "a number above 0 || found inf || --help"),
    study("a date", "+epochs: 2024-01-01", "a whole number || found '2024-01-01' || --help"),
    study(
        "a key without a value",
        "data:\ntargets: [high]\n",
        "Give a table with --data || which data? || one of: adult",
    ),
    study(
        "tabs",
        "data: t.csv\nmethods:\n\t- linear\n",
        "not valid YAML || line 3: found character '\\t' || Indent with spaces",
    ),
    study(
        "an open bracket",
        "+methods: [linear",
        "expected ',' or ']' || line 3 || every bracket and quote closed",
    ),
    study(
        "a key twice",
        "+epochs: 3\nepochs: 4",
        "not valid YAML || line 4: the key 'epochs' is given twice || Keep one",
    ),
    study(
        "a nested key twice",
        "+methods: [{mgda: {depth: 1, depth: 2}}]",
        "not valid YAML || the key 'depth' is given twice || Keep one",
    ),
    study(
        "a call",
        "+methods: !!python/object/apply:os.getcwd []",
        LOADER.format("'!!python/object/apply:os.getcwd'"),
    ),
    study(
        "a class",
        "+encoder: !!python/name:torch.nn.Linear",
        LOADER.format("'!!python/name:torch.nn.Linear'"),
    ),
    study("empty", "", "it should hold keys || study.yaml is empty || such as 'data'"),
    study("comments only", "# data: t.csv\n", "it should hold keys || is empty || such as 'data'"),
    study("a list", "- data\n- t.csv\n", "'key: value' lines || found a list || data: adult"),
    study("a text", "compare adult\n", "'key: value' lines || found a str || data: adult"),
    study(
        "two documents", "+---\ndata: t.csv\n", "one study || another document || without a line"
    ),
    study(
        "JSON with a mistake",
        '{"data": "t.csv", "targets": ["high",]',
        "expected ',' or '}' || line 1 || every bracket and quote closed",
    ),
    study(
        "anchors",
        "a: &a [x,x]\nb: &b [*a,*a]\n",
        "Known: accumulate || unknown key 'a' || in all)",
    ),
    study("not text", b"\xff\xfe\x00\x81", "in UTF-8 || is not a text file || --help"),
    study("a zero byte", b"data: t.csv\0\n", "Expected lines || character #x0000 || 'key: value'"),
    study(
        "targets as a number",
        "data: t.csv\ntargets: 3\n",
        "Known: age || unknown target column '3' || --help",
    ),
    study(
        "a list for a kind",
        "data: t.csv\ntargets: {high: [binary]}\n",
        "expected a kind || found ['binary'] || {kind: ..., role: ...}",
    ),
    study(
        "data as a list",
        "data: [t.csv, u.csv]\ntargets: [high]\n",
        "should be a word || found ['t.csv', 'u.csv'] || give one value",
    ),
    study(
        "a data set with a wrong option",
        "data: {adult: {splt: published}}\n",
        "Known: split || argument of dataset adult: 'splt' || did you mean 'split'?",
    ),
    other(
        "a folder",
        "compare study.yaml",
        lambda p: (p.folder / "study.yaml").mkdir(),
        "expected a file in YAML || is a folder || --help",
    ),
    other(
        "results for a study",
        "compare results.json",
        lambda p: p.write("results.json", '{"schema": 1, "verdict": "x"}'),
        "Known: accumulate || unknown key 'schema' || --help",
    ),
]
