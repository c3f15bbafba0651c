"""With torch and numpy alone: every method in a loop of one's own, and a light import."""

import json
import subprocess
import sys

OTHERS = ["pandas", "scipy", "sklearn", "torchmetrics", "accelerate", "yaml", "rich", "cyclopts"]
OTHERS += ["safetensors", "jinja2", "matplotlib", "pydantic", "filelock", "pyarrow"]

# None in sys.modules is how Python itself spells "cannot be imported"; unlike a finder that
# raises, it lets torch ask whether optional packages are there.
BLOCK = f"""
import sys, warnings
warnings.simplefilter("error")
sys.modules.update(dict.fromkeys({OTHERS!r}))
"""

LOOP = """
import torch
import polytask

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.rand(16, 3)
taken = {}
for name in polytask.list_methods():
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh())
    heads = torch.nn.ModuleDict({task: torch.nn.Linear(8, 1) for task in "abc"})
    parameters = [*trunk.parameters(), *heads.parameters()]
    optimizer = torch.optim.Adam(parameters)

    def losses(rows=slice(None)):
        z = trunk(x[rows])
        return {
            task: (head(z)[:, 0] - y[rows, i]).square().mean()
            for i, (task, head) in enumerate(heads.items())
        }

    takes_main = name in MAIN
    balancer = polytask.create_method(name, **({"main": "a"} if takes_main else {}))
    for _ in range(2):
        optimizer.zero_grad()
        several = [losses(slice(i, None)) for i in range(balancer.batches)]
        balancer.backward(
            several if len(several) > 1 else several[0], closure=losses, validation=losses
        )
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters), name
        optimizer.step()
        balancer.after_step()
        balancer.observe(epoch=0, scores={"a": 1.0, "b": 1.0, "c": 1.0})
    taken[name] = takes_main
print(__import__("json").dumps(taken))
"""


def bare(program):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_method_steps_with_torch_alone():
    import inspect

    import polytask

    main = {
        name
        for name in polytask.list_methods()
        if "main" in inspect.signature(type(polytask.create_method(name))).parameters
    }
    assert main
    taken = bare(f"MAIN = {main!r}\n" + LOOP)
    assert list(taken) == polytask.list_methods()


def test_importing_loads_the_standard_library_alone():
    """What is asked for is loaded when it is."""
    loaded = bare(
        "before = set(sys.modules); import polytask, json\n"
        "print(json.dumps([m.partition('.')[0] for m in set(sys.modules) - before]))"
    )
    assert set(loaded) <= {"polytask", *sys.stdlib_module_names}


def test_the_kernel_adds_only_the_standard_library_to_torch():
    loaded = bare(
        "import torch, json; before = set(sys.modules)\n"
        "import polytask; polytask.list_methods(); polytask.create_method('pcgrad')\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ours = {"polytask", *sys.stdlib_module_names}
    foreign = {name for name in loaded if name.partition(".")[0] not in ours}
    assert {name.partition(".")[0] for name in foreign} <= {"torch"}
    assert not any(name.startswith("polytask.") and name.split(".")[1] in HEAVY for name in loaded)


HEAVY = {"data", "training", "study", "report", "cli", "tabular", "architectures", "tasks"}
