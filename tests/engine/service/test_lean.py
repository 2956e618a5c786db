"""The lean import of aiohttp: the server without the client, and the client all the same when somebody asks for it."""

from __future__ import annotations

import subprocess
import sys


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_server_is_imported_without_the_client() -> None:
    code = (
        "import sys; from dosirak.engine.service import lean; lean.prepare();"
        "import aiohttp.web_server; print('aiohttp.client' in sys.modules, 'aiohttp.web_server' in sys.modules)"
    )
    assert python(code) == "False True"


def test_the_whole_package_is_there_for_whoever_uses_one_of_its_names() -> None:
    code = (
        "from dosirak.engine.service import lean; lean.prepare();"
        "import aiohttp.web_server, aiohttp; from aiohttp import ClientSession, web;"
        "print(aiohttp.ClientSession is ClientSession, aiohttp.web_server.Server is web.Server, aiohttp.__version__[0])"
    )
    assert python(code) == "True True 3"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    code = (
        "from dosirak.engine.service import lean; lean.prepare();\n"
        "import aiohttp\n"
        "try: aiohttp.nothing_of_this_name\n"
        "except AttributeError: print('as usual')"
    )
    assert python(code) == "as usual"


def test_the_start_path_imports_no_slow_client_library() -> None:
    code = (
        "import sys; from dosirak.engine.service import lean; lean.prepare();"
        "import dosirak.engine.service.engine, dosirak.engine.api.server, dosirak.engine.networks;"
        "print([name for name in ('pandas', 'IPython', 'docker', 'pyroute2', 'aiohttp.client', 'click')"
        " if name in sys.modules])"
    )
    assert python(code) == "[]"
