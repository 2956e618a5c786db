"""A Dockerfile looked through because somebody asked, not because it is built: with the base images that are here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from dosirak.engine.build.checks.examine import Report, Setting, examine
from dosirak.engine.build.dockerfile import parse
from dosirak.engine.build.result import read_config
from dosirak.engine.build.scope import Platform
from dosirak.engine.build.stages import SCRATCH, ImageRef, Stages
from dosirak.engine.errors import EngineError
from dosirak.engine.images import Images


async def look(images: Images, text: str, filename: str, setting: Setting) -> Report:
    """The report on `text`; an image that is not here is not fetched, and rules that need it are left out."""
    known, made_for = {}, {}
    # in threads: a hostile Dockerfile may take its time, the loop has none
    for name in await asyncio.to_thread(_bases, text, setting):
        try:
            config = (await images.resolve(name)).config
        except EngineError:
            continue
        known[name] = read_config(config.config, config.author)
        made_for[name] = Platform(config.os, config.architecture, config.variant)
    return await asyncio.to_thread(examine, text, filename, replace(setting, images=known, platforms=made_for))


def document(report: Report) -> Mapping[str, object]:
    """The report as the API tells it."""
    return {
        "Warnings": [
            {
                "Rule": found.rule.name,
                "Description": found.rule.description,
                "URL": found.rule.url,
                "Detail": found.detail,
                "FirstLine": found.lines.first,
                "LastLine": found.lines.last,
            }
            for found in report.findings
        ],
        "Error": report.error.message if report.error is not None else "",
    }


def _bases(text: str, setting: Setting) -> list[str]:
    try:
        stages = Stages(parse(text), setting.args, setting.target, setting.platform)
    except EngineError:
        return []  # the look itself will say so
    names = {base.name for base in stages.bases if isinstance(base, ImageRef)}
    return sorted(names - {SCRATCH})
