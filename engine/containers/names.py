"""Containers' names and ids: the rule, the words of the refusals, and names for those who give none."""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Container

from dosirak.engine.errors import Conflict, InvalidRequest

_ALLOWED = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME = re.compile(f"{_ALLOWED}+")

_ADJECTIVES = """
able airy amber ample apt aware bold brave breezy bright brisk calm candid careful cheerful civil clear clever
cosy crisp curious daring deft dreamy eager earnest easy elegant exact fair fancy fearless festive fine fluent
fond frank fresh friendly gallant gentle gifted glad golden graceful grand happy hardy hearty helpful honest
hopeful humble jolly joyful keen kind lively loyal lucid lucky mellow merry mindful modest neat nimble noble
patient peaceful placid pleasant plucky polite proud quick quiet radiant ready serene sharp sincere sleek
smart snug sober spry steady sturdy subtle sunny sweet swift tender tidy tranquil trusty upbeat valiant vivid
warm wise witty young zesty
"""

# Scientists, mathematicians and engineers.
_SURNAMES = """
abel agnesi alhazen almeida ampere anning archimedes aryabhata avogadro babbage banach bardeen barton bassi
bayes becquerel bell bernoulli bhabha blackburn blackwell bohr boltzmann boole borel born bose boyle
brahmagupta brattain brouwer burnell cannon cantor carnot carson cauchy cavendish cerf chandrasekhar chatelet
chebyshev cori coulomb curie dalton darwin davy dedekind descartes dijkstra dirac edison ehrenfest einstein
elion engelbart erdos euclid euler fano faraday fermat fermi feynman fibonacci fourier franklin fresnel
galileo galois gauss germain gibbs goddard godel goeppert golick goodall gosling hamilton hamming hawking
heisenberg herschel hertz hilbert hodgkin hooke hopper hubble hypatia jackson jang johnson joliot joule kalman
kepler khayyam kilby knuth kolmogorov kovalevskaya lagrange lalande lamarr lamport laplace lavoisier leavitt
lee legendre leibniz liskov lovelace lumiere markov maxwell mayer mccarthy mcclintock meitner mendel mendeleev
mirzakhani morse napier nash neumann newton nightingale nobel noether ohm oppenheimer panini pascal pasteur
pauling payne perlman planck poincare poisson ptolemy raman ramanujan rayleigh ride riemann ritchie rosalind
rubin rutherford sagan salk sanger schrodinger shannon shockley sinoussi somerville spence stallman stokes
sutherland tesla thompson torvalds turing varahamihira vaughan villani volta wallace watt weierstrass wescoff
wien wiles wing wozniak wright wu yalow yonath zhukovsky
"""

_adjectives, _surnames = _ADJECTIVES.split(), _SURNAMES.split()


def new_id() -> str:
    """64 hexadecimal digits; never digits only, so that a short id is not taken for a number (as Docker's)."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdigit():
            return candidate


def check(name: str) -> str:
    """The name without its "/". Raises InvalidRequest where Docker refuses it."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidRequest(f"Invalid container name ({name}), only {_ALLOWED} are allowed")
    return bare


def generate(taken: Container[str], container_id: str) -> str:
    """A free name of an adjective and a surname; after some misses the short id."""
    for attempt in range(6):
        name = f"{random.choice(_adjectives)}_{random.choice(_surnames)}"
        if attempt:
            name += str(random.randrange(10))
        if name not in taken:
            return name
    return container_id[:12]


def in_use(name: str, owner: str) -> Conflict:
    """The error for a name that another container has."""
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have to remove'
        " (or rename) that container to be able to reuse that name."
    )
