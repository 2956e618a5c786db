"""The rules there are, and what a broken one is reported as. Names, words and addresses: Docker's published list."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dosirak.engine.build.dockerfile.ast import Lines

_ADDRESS = "https://docs.docker.com/go/dockerfile/rule/"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name, what it asks for, whether it has to be asked for by name (`experimental`), and whether
    Docker's documentation has a page on it (`explained`)."""

    name: str
    description: str
    experimental: bool = False
    explained: bool = True

    @property
    def url(self) -> str:
        """Where it is explained, "" if nowhere."""
        return "" if not self.explained else f"{_ADDRESS}{_HUMP.sub('-', self.name).lower()}/"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: what is wrong here, and the lines it concerns."""

    rule: Rule
    detail: str
    lines: Lines

    @property
    def message(self) -> str:
        """One line, as a build tells it."""
        return f"{self.rule.name}: {self.detail} (line {self.lines.first})"


_DEFINITION = (
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not "
    "intended to be a description comment, add an empty line or comment between the instruction and the comment."
)

CONSISTENT_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
)
COPY_IGNORED = Rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore")
DUPLICATE_STAGE = Rule("DuplicateStageName", "Stage names should be unique")
EXPOSE_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. "
    "This will become an error in a future release",
)
EXPOSE_CASING = Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase")
FROM_AS_CASING = Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword")
CONSTANT_PLATFORM = Rule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value")
INVALID_DEFAULT = Rule(
    "InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name"
)
DEFINITION = Rule("InvalidDefinitionDescription", _DEFINITION, experimental=True)
JSON_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
)
LEGACY_PAIR = Rule("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used")
MAINTAINER = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
)
BASE_PLATFORM = Rule(
    "InvalidBaseImagePlatform", "Base image platform does not match expected target platform", explained=False
)
MULTIPLE = Rule(
    "MultipleInstructionsDisallowed", "Multiple instructions of the same type should not be used in the same stage"
)
EMPTY_CONTINUATION = Rule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release")
REDUNDANT_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
)
RESERVED_STAGE = Rule("ReservedStageName", "Reserved words should not be used as stage names")
SECRETS = Rule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands")
STAGE_CASING = Rule("StageNameCasing", "Stage names should be lowercase")
UNDEFINED_ARG = Rule("UndefinedArgInFrom", "FROM command must use declared ARGs")
UNDEFINED_VARIABLE = Rule("UndefinedVar", "Variables should be defined before their use")
RELATIVE_WORKDIR = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base "
    "image changes",
)

RULES = tuple(rule for rule in tuple(globals().values()) if isinstance(rule, Rule))
"""All rules, by name."""
