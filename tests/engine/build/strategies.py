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
right = st.sampled_from(
    [
        *("RUN a", 'RUN ["a", "b"]', "RUN <<E\na\nE", "RUN --network=none a \\\n b", "RUN --mount=target=/m,from=a x"),
        *("FROM a AS b", "FROM scratch", "FROM busybox AS a", "ARG x=1", "ARG x y=$x", "ENV x=$y z='1 2'", "ENV x y z"),
        *("COPY a /b/", "COPY --from=a a ${x:-.}", "COPY --from=0 /a /b", "ADD --chown=$x a b/", "COPY <<E /e\n$x\nE"),
        *("WORKDIR a", "WORKDIR /${x:-y}", "USER u", "EXPOSE $x 80", "VOLUME /v", 'SHELL ["a"]', "CMD a", "LABEL a=$x"),
        *("ENTRYPOINT a", "STOPSIGNAL 9", "HEALTHCHECK CMD a", "ONBUILD RUN a", "MAINTAINER me", "# escape=`", ""),
    ]
)
tight = st.lists(st.one_of(right, right, right, lines), max_size=12).map(
    lambda made: "\n".join(["FROM busybox AS a", *made, ""])
)
"""Lines that are mostly instructions, often whole files."""
