"""Things that the tests configure; importable in jobs too, on Python 3.8."""

import collections
import dataclasses
import enum
import functools
import typing


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    R = 1
    W = 2


Point = collections.namedtuple("Point", ["x", "y"])


@dataclasses.dataclass
class Opt:
    lr: float = 0.1
    steps: list = dataclasses.field(default_factory=list)
    doubled: typing.Any = dataclasses.field(init=False, default=None)

    def __post_init__(self):
        self.doubled = [self.lr, self.lr]


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: typing.Any = None


@dataclasses.dataclass
class Trainer:
    opt: Opt
    callbacks: list = dataclasses.field(default_factory=list)
    name: str = "t"


class Model:
    def __init__(self, dim, opt=None, *, layers=()):
        self.dim = dim
        self.opt = opt
        self.layers = layers

    @classmethod
    def make(cls, dim):
        return cls(dim)

    @staticmethod
    def helper(x):
        return x

    def fit(self):
        return self.dim


class SubModel(Model):
    pass


def train(model, lr=0.1, *, opts=None, trainer=None):
    return model, lr, opts, trainer


def positional(a, b=2, /, c=3, *rest, d=4, **more):
    return a, b, c, rest, d, more


def collect(*args, **kwargs):
    return args, kwargs


@functools.wraps(train)
def decorated(*args, **kwargs):
    return train(*args, **kwargs)


DTYPE = None


class _Dtype:
    def __repr__(self):
        return "cfgsamples.float99"


float99 = _Dtype()
