"""Every check of this project, each in an environment of its own: ``nox``, or ``nox -s NAME``."""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

PYTHONS = ["3.11", "3.12", "3.13"]
CODE = ["chatloom_async", "tests", "benchmarks", "noxfile.py"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite, as a user runs it."""
    session.install(".[test]")
    session.run("python", "-X", "dev", "-m", "pytest", "--numprocesses=auto", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The suite on the lowest versions that the package allows."""
    session.install(
        ".[test]",
        "aiohttp==3.14.3",
        "attrs==24.3.0",
        "cattrs==25.1.0",
        "tenacity==9.0.0",
        "pytest==8.4.0",
        "pytest-asyncio==1.1.0",
        "looptime==0.9",
    )
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def uvloop(session: nox.Session) -> None:
    """The whole suite on uvloop; what runs in virtual time stays on asyncio's own loop."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs, env={"CHATLOOM_TEST_LOOP": "uvloop"})


@nox.session(python=PYTHONS[1:])
def eager(session: nox.Session) -> None:
    """The whole suite where tasks begin at once."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs, env={"CHATLOOM_TEST_LOOP": "eager"})


@nox.session
def by_session(session: nox.Session) -> None:
    """The suite with every request through aiohttp's session."""
    session.install(".[test]")
    rest = "--ignore=tests/network/test_direct.py"
    session.run(
        "python", "-m", "pytest", rest, *session.posargs, env={"CHATLOOM_TEST_WAY": "session"}
    )


@nox.session
def upstream(session: nox.Session) -> None:
    """What meets aiohttp, on its newest pre-release, the direct way forced on."""
    session.install(".[test]")
    session.install("--pre", "--upgrade", "aiohttp")
    session.run("python", "-c", "import aiohttp; print('aiohttp', aiohttp.__version__)")
    session.run(
        "python", "-m", "pytest", "tests/network", "tests/faults", "tests/test_secrets.py",
        # Forced on, it is on for versions too that it was not tried with.
        "--deselect", "tests/network/test_direct.py::test_a_newer_aiohttp_is_left_to_its_session",
        *session.posargs, env={"CHATLOOM_TEST_WAY": "direct"},
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Style and the traps that ruff knows."""
    session.install("ruff>=0.17,<0.18")
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """The types, as mypy and pyright see them, and all of the public ones."""
    session.install(".[test]", "mypy>=2,<3", "types-cachetools", "pyright[nodejs]>=1.1.414", "nox")
    session.run("mypy", *CODE)
    session.run("pyright", "chatloom_async")
    session.run("pyright", "--verifytypes", "chatloom_async", "--ignoreexternal")


@nox.session
def readme(session: nox.Session) -> None:
    """Every block of the README."""
    session.install(".[test]")
    session.run("python", "-X", "dev", "-m", "pytest", "tests/uses/test_readme.py")


@nox.session
def bench(session: nox.Session) -> None:
    """The measured figures of the README."""
    session.install(".[test]")
    for name in ("fanout", "growth", "gate", "politeness", "fleet"):
        session.run("python", "-m", f"benchmarks.{name}", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """A backend among mixed faults for 15 minutes; what it holds must stay flat."""
    session.install(".[test]")
    session.run("python", "-m", "benchmarks.soak", "--check", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of the package."""
    session.install(".[test]", "pytest-cov")
    session.run(
        "python", "-m", "pytest", "--cov=chatloom_async", "--cov-branch",
        "--cov-report=term-missing:skip-covered", "--cov-fail-under=98", *session.posargs,
    )  # fmt: skip


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hypothesis on what comes from outside, for longer."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "tests/test_fuzz.py", env={"HYPOTHESIS_PROFILE": "long"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Small faults in the modules that every call rests on, and which of them no test sees."""
    session.install(".[test]", "mutmut>=3.8,<4")
    session.run("mutmut", "run", *session.posargs)
    session.run("mutmut", "results")
