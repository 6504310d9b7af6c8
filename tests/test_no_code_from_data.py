"""Nothing that comes from outside may become code: a look through every line that we ship."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SHIPPED = ("api", "jobs", "local", "pipelines", "worker", "client/darkroom")

#: Modules whose formats carry code, or that run what they are given.
MODULES = {
    *("pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"),
    *("code", "codeop", "runpy", "imp", "xmlrpc", "telnetlib"),
}
#: Calls that run what they are given, by their last two names.
CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint", "input"),
    *("torch.load", "hub.load", "jit.load", "package.PackageImporter"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"),
    *("os.system", "os.popen", "subprocess.getoutput", "asyncio.create_subprocess_shell"),
    *("tempfile.mktemp", "importlib.import_module"),
}
#: Arguments that turn a harmless call into one of those.
ARGUMENTS = {
    "shell": (True,),
    "trust_remote_code": (True,),
    "allow_pickle": (True,),
    "weights_only": (False,),
    "use_safetensors": (False, None),
    "allow_dangerous_deserialization": (True,),
}

#: What is there all the same, and why it may.
ALLOWED = {
    # The trainer's own checkpoints, on its own disk, read as tensors alone.
    "pipelines/demo/course.py": {"torch.load"},
    # The name of a module comes out of a table of ours.
    "pipelines/loading.py": {"importlib.import_module"},
}


def sins(source: str) -> Iterator[str]:
    """What a program has that could run data."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from MODULES & {name.name.split(".")[0] for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                yield from MODULES & {module.split(".")[0]}
                yield from CALLS & {f"{module.split('.')[-1]}.{name.name}" for name in names}
            case ast.Call(func=function, keywords=keywords):
                called = ".".join(ast.unparse(function).split(".")[-2:])
                yield from CALLS & {called}
                for keyword in keywords:
                    bad = ARGUMENTS.get(keyword.arg or "", ())
                    if isinstance(keyword.value, ast.Constant) and keyword.value.value in bad:
                        yield f"{keyword.arg}={keyword.value.value}"


def test_no_shipped_line_could_run_what_it_reads() -> None:
    files = [path for folder in SHIPPED for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 100
    found = {
        name: wrong
        for path in files
        for name in [str(path.relative_to(REPOSITORY))]
        if (wrong := set(sins(path.read_text(encoding="utf-8"))) - ALLOWED.get(name, set()))
    }
    assert found == {}


def test_what_is_allowed_is_still_there() -> None:
    for name, allowed in ALLOWED.items():
        assert set(sins((REPOSITORY / name).read_text())) == allowed


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "from marshal import loads",
        "from torch import load",
        "from yaml import unsafe_load as safe_load",
        "eval('1')",
        "torch.load(path)",
        "self.torch.load(path)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "subprocess.run(command, shell=True)",
        "Model.from_pretrained(name, trust_remote_code=True)",
        "Model.from_pretrained(name, use_safetensors=False)",
        "numpy.load(path, allow_pickle=True)",
        "importlib.import_module(name)",
    ],
)
def test_the_look_finds_what_it_is_for(line: str) -> None:
    assert set(sins(line))


def test_it_passes_what_only_sounds_alike() -> None:
    assert not set(sins("model.eval()\nre.compile(x)\nyaml.safe_load(x)\njson.loads(x)"))
