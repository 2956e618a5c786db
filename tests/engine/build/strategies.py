"""Random Dockerfiles: nearly right ones, for properties that any text has to keep."""

from __future__ import annotations

from hypothesis import strategies as st

KEYWORDS = (
    *("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "CMD", "LABEL", "ONBUILD", "HEALTHCHECK", "VOLUME", "WORKDIR"),
    *("EXPOSE", "USER", "SHELL", "STOPSIGNAL", "ENTRYPOINT", "MAINTAINER", "NOPE"),
)
LAYOUT = [" ", "  ", "\t", "\\", "\\\n", "\n", "\r\n", "`", "`\n", "\u2028", "\x1c", "\x0b"]
SYNTAX = ["#", '"', "'", "<<EOF", "<<-'E F'", "EOF\n", "[", "]", ",", "=", "$", "${a:-b}", "--x=y", "--", '["a"]']
pieces = st.sampled_from([*LAYOUT, *SYNTAX, "# escape=`\n", "a", "é"])

loose = st.lists(st.one_of(st.sampled_from(KEYWORDS), pieces, st.text(max_size=5)), max_size=40).map("".join)
"""Any mixture of the language's pieces."""

WORDS = (
    *("a", "b=c", "$a", "${a:-b}", "${a#*}", "${a//b/c}", "a/b", "/a", ".", "..", "*", '"q q"', "'s'", "80", "é", "\\"),
    *("as", "scratch", "busybox", "CMD", "NONE", '["a", "b"]', "SIGTERM", "https://x", "<<E", "8-9/udp"),
    *("--from=a", "--from=0", "--chown=1:1", "--chmod=755", "--network=none", "--platform=linux", "--interval=1s"),
    *("--mount=type=cache,target=/x", "--mount=target=/y,from=a", "--parents", "--exclude=*"),
)
lines = st.builds(
    lambda keyword, words: " ".join([keyword, *words]),
    st.sampled_from(KEYWORDS),
    st.lists(st.sampled_from(WORDS), max_size=5),
)
tight = st.lists(lines, max_size=12).map(lambda made: "\n".join(["FROM busybox AS a", *made, "E", ""]))
"""Lines that are often instructions, often whole files."""
