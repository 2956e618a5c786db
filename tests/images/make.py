"""Images under the names tutorials use, for a machine without Docker Hub: made once, and served as its mirror.

    python tests/images/make.py --list                     what stands behind each name
    python tests/images/make.py                            makes the small ones, and serves them until Ctrl-C
    python tests/images/make.py --all                      mysql and wordpress too
    python tests/images/make.py --registry 127.0.0.1:5000  pushes them to a registry that runs already
    python tests/images/make.py busybox nginx              only these

With what it prints in `dosirak.toml`, `docker run -it ubuntu:14.04` and the like run as a tutorial has them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from images import building, roots
from images.recipes import LABEL, RECIPES, Recipe

from support import registries

CACHE = Path(__file__).resolve().parents[2] / "build/images"


def chosen(names: Sequence[str], *, large: bool) -> list[Recipe]:
    """The recipes of these names ("ubuntu", "ubuntu:14.04"); without names all, the large ones if asked for."""
    if not names:
        return [recipe for recipe in RECIPES if large or not recipe.large]
    found = []
    for name in names:
        matching = [one for one in RECIPES if any(name in (full, full.partition(":")[0]) for full in one.names)]
        if not matching:
            raise SystemExit(f"{name}: no recipe for this name (see --list)")
        found += matching
    return list({recipe.key: recipe for recipe in found}.values())


def push(recipe: Recipe, registry: registries.Remote, cache: Path = CACHE) -> None:
    """Makes an image and puts it into a registry under all its names."""
    if recipe.folder:
        layers, config = building.contents(building.archive(recipe, cache))
    else:
        layers = roots.layers(recipe, cache)
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = {"Env": [path], "Labels": {LABEL: recipe.stands_for}, **recipe.config}
    for name in recipe.names:
        registry.image(name if "/" in name else f"library/{name}", layers, config=config)


def table(recipes: Iterable[Recipe]) -> str:
    """What stands behind each name."""
    rows = [(name, recipe.stands_for) for recipe in recipes for name in recipe.names]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {what}" for name, what in [("NAME", "WHAT IT REALLY IS"), *rows])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--list", action="store_true", help="only say what stands behind each name")
    parser.add_argument("--all", action="store_true", help="the large ones too")
    parser.add_argument("--registry", default="", help="address of a registry without a login that runs already")
    parser.add_argument("--port", type=int, default=5000, help="where to serve them (5000)")
    given = parser.parse_args(arguments)
    recipes = chosen(given.names, large=given.all or given.list)
    if given.list:
        print(table(recipes))
    elif given.registry:
        _make(recipes, registries.Remote(given.registry))
    else:
        _serve(recipes, given.port)


def _make(recipes: Sequence[Recipe], registry: registries.Remote) -> None:
    for recipe in recipes:
        print(f"{', '.join(recipe.names)} …", flush=True)
        push(recipe, registry)
    print(f"\n{table(recipes)}\n\nIn dosirak.toml:\n\n[registries.mirrors]")
    print(f'"docker.io" = ["http://{registry.address}"]', flush=True)


def _serve(recipes: Sequence[Recipe], port: int) -> None:
    if registries.BINARY is None:
        raise SystemExit("docker-registry is not here (Debian: apt install docker-registry); or give --registry")
    CACHE.mkdir(parents=True, exist_ok=True)
    with registries.serving(CACHE / "registry", port) as registry:
        _make(recipes, registry)
        print("\nServing them until Ctrl-C.", flush=True)
        try:
            registry.process.wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{error.cmd[0]} failed: is there a Debian mirror for this machine?") from None
