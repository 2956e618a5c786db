"""`-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's VOLUMEs as one plan of mounts. Pure.

Docker's rules: one mount a destination; what comes later in the list wins (the image's volumes, volumes of other
containers, binds and mounts of the client); two asked for at one place are an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dosirak.engine.containers.documents import Mount, MountPoint
from dosirak.engine.errors import InvalidRequest, NotFound, NotSupported

_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_MODES: tuple[frozenset[str], ...] = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    _PROPAGATIONS,
    frozenset({"nocopy", "copy"}),
    frozenset({"consistent", "cached", "delegated"}),
    frozenset({"idmap"}),
)


class MountPlan(MountPoint):
    """A mount of a container: what `inspect` shows of it, and how it is to be made.

    `copy`: fill an empty volume from the image; `recursive`: the mounts below the source come too; `flat_readonly`:
    read-only does not hold for them; `create`: make a missing source (of a bind); `options`: a tmpfs's; `subpath`: of
    a volume or an image, the part of it that is mounted; `idmap`: a bind's files belong to the same ids inside a user
    namespace; `layers`, `diff_ids`: an image's, as a container's record has them.
    """

    copy: bool = False
    recursive: bool = True
    flat_readonly: bool = False
    create: bool = False
    anonymous: bool = False
    subpath: str = ""
    idmap: bool = False
    layers: list[str] = msgspec.field(default_factory=list)
    diff_ids: list[str] = msgspec.field(default_factory=list)
    options: list[str] = msgspec.field(default_factory=list)
    labels: dict[str, str] = msgspec.field(default_factory=dict)

    def shown(self) -> MountPoint:
        """What `inspect` and `ps` show."""
        return MountPoint(
            type=self.type,
            name=self.name,
            source=self.source,
            destination=self.destination,
            driver=self.driver,
            mode=self.mode,
            rw=self.rw,
            propagation=self.propagation,
        )


def plan(
    *,
    image_volumes: Iterable[str],
    inherited: Sequence[MountPlan],
    binds: Sequence[str],
    mounts: Sequence[Mount],
    tmpfs: Mapping[str, str],
    volume_driver: str = "",
    root: str = "",
    flat_readonly: bool = False,
) -> list[MountPlan]:
    """All mounts of a container, by depth of their destination.

    Parameters: `image_volumes`: the destinations of VOLUME and of `-v /path`; `inherited`: of `--volumes-from`;
    `binds`: "-v" strings; `mounts`: `--mount`s; `tmpfs`: destinations and options of `--tmpfs`; `root`: the engine's
    own directory; `flat_readonly`: read-only has never meant the mounts below to who asks (before API 1.44).
    Raises InvalidRequest, NotFound for a volume driver.
    """
    if volume_driver not in ("", "local"):
        raise _no_driver(volume_driver)
    places: dict[str, MountPlan] = {entry.destination: entry for entry in inherited}
    asked: set[str] = set()
    taken = {clean(path): options for path, options in tmpfs.items()}
    for destination in taken:
        _check_destination(destination)
    for entry in [parse_bind(bind) for bind in binds] + [parse_mount(mount) for mount in mounts]:
        if entry.destination in asked or entry.destination in taken:
            raise InvalidRequest(f"Duplicate mount point: {entry.destination}")
        if entry.type == "bind":
            entry.propagation = _propagation(entry, root)
            entry.flat_readonly = entry.flat_readonly or (flat_readonly and not entry.rw)
        asked.add(entry.destination)
        places[entry.destination] = entry
    for path in image_volumes:
        destination = clean(path)
        _check_destination(destination)
        if destination not in places and destination not in taken:
            places[destination] = _anonymous(destination)
    return sorted(places.values(), key=lambda entry: (depth(entry.destination), entry.destination))


def depth(path: str) -> int:
    """How deep a (clean) path lies: mounts are made from the top down."""
    return path.count("/")


def clean(path: str) -> str:
    """An absolute path without "..", "//" and trailing "/"."""
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else path


def _propagation(entry: MountPlan, root: str) -> str:
    """What the kind of a bind's propagation becomes: a private view of the engine's directory would hold other
    containers' mounts in there for as long as this one lives. Raises InvalidRequest."""
    below, above = (posixpath.join(path, "") for path in (entry.source, root))
    if not root or not (below.startswith(above) or above.startswith(below)):
        return entry.propagation or "rprivate"
    if entry.propagation not in ("", "rslave", "rshared"):
        raise InvalidRequest(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within'
            f' the daemon root, daemon root: "{root}", bind mount source: "{entry.source}", propagation:'
            f' "{entry.propagation}"'
        )
    return entry.propagation or "rslave"


def _anonymous(destination: str) -> MountPlan:
    return MountPlan(type="volume", destination=destination, driver="local", copy=True, anonymous=True)


def _check_destination(path: str) -> None:
    if not path.startswith("/"):
        raise InvalidRequest(f"invalid mount path: '{path}' mount path must be absolute")
    if clean(path) == "/":
        raise InvalidRequest("invalid specification: destination can't be '/'")


def parse_bind(text: str) -> MountPlan:
    """One "-v": "[SOURCE:]DESTINATION[:MODE,…]". Raises InvalidRequest "invalid volume specification: 'x'"."""
    parts = text.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and _valid_mode(parts[1])):
        raise InvalidRequest(f"invalid volume specification: '{text}'")
    source = parts[0] if len(parts) > 1 else ""
    destination = parts[1] if len(parts) > 1 else parts[0]
    mode = parts[2] if len(parts) == 3 else ""
    if not _valid_mode(mode):
        raise InvalidRequest(f"invalid mode: {mode}")
    try:
        _check_destination(destination)
    except InvalidRequest as error:
        raise InvalidRequest(f"invalid volume specification: '{text}': {error}") from error
    words = mode.split(",")
    propagation = next((word for word in words if word in _PROPAGATIONS), "")
    entry = MountPlan(destination=clean(destination), mode=mode, rw="ro" not in words)
    if source.startswith("/"):
        entry.type, entry.source, entry.propagation = "bind", clean(source), propagation
        entry.create, entry.idmap = True, "idmap" in words
        return entry
    if propagation:
        raise InvalidRequest(
            f"invalid volume specification: '{text}': invalid mount config for type \"volume\": field BindOptions must"
            " not be specified"
        )
    entry.type, entry.driver, entry.name = "volume", "local", source
    entry.anonymous, entry.copy = not source, "nocopy" not in words
    entry.mode = mode or "z"  # as Docker shows a volume without a mode
    return entry


def _valid_mode(mode: str) -> bool:
    if not mode:
        return True
    words = mode.split(",")
    known = set().union(*_MODES)
    return all(word in known for word in words) and all(sum(word in kind for word in words) <= 1 for kind in _MODES)


def parse_mount(mount: Mount) -> MountPlan:
    """One `--mount`. Raises InvalidRequest "invalid mount config for type "bind": …"."""
    try:
        return _parse_mount(mount)
    except InvalidRequest as error:
        raise InvalidRequest(f'invalid mount config for type "{mount.type}": {error}') from error


def _parse_mount(mount: Mount) -> MountPlan:
    if not mount.target:
        raise InvalidRequest("field Target must not be empty")
    _check_destination(mount.target)
    makers = {"bind": _bind, "volume": _volume, "tmpfs": _tmpfs, "image": _image}
    if mount.type not in makers:
        raise InvalidRequest("mount type unknown")
    if mount.type in ("bind", "image") and not mount.source:
        raise InvalidRequest("field Source must not be empty")
    for kind in ("bind", "volume", "image", "tmpfs", "cluster"):
        if mount.type != kind and getattr(mount, f"{kind}_options") is not None:
            raise InvalidRequest(f"field {kind.title()}Options must not be specified")
    entry = makers[mount.type](mount)
    entry.destination, entry.rw = clean(mount.target), not mount.read_only and mount.type != "image"
    return entry


def _bind(mount: Mount) -> MountPlan:
    options = mount.bind_options
    propagation = options.propagation if options else ""
    if propagation and propagation not in _PROPAGATIONS:
        raise InvalidRequest(f"invalid propagation mode: {propagation}")
    if not mount.source.startswith("/"):
        raise InvalidRequest(f"invalid mount path: '{mount.source}' mount path must be absolute")
    return MountPlan(
        type="bind",
        source=clean(mount.source),
        propagation=propagation,
        recursive=not (options and options.non_recursive),
        flat_readonly=bool(options and options.read_only_non_recursive),
        create=bool(options and options.create_mountpoint),
    )


def _volume(mount: Mount) -> MountPlan:
    options = mount.volume_options
    if options and options.subpath:
        if not mount.source:
            raise InvalidRequest("must not set Subpath when using anonymous volumes")
        _check_subpath(options.subpath)
    if mount.read_only and not mount.source:
        raise InvalidRequest("must not set ReadOnly mode when using anonymous volumes")
    driver = options.driver_config if options else None
    if driver and driver.name not in ("", "local"):
        raise _no_driver(driver.name)
    if driver and driver.options:
        raise NotSupported("options of volume drivers are not supported yet")
    return MountPlan(
        type="volume",
        name=mount.source,
        driver="local",
        mode="z",
        copy=not (options and options.no_copy),
        anonymous=not mount.source,
        subpath=options.subpath if options else "",
        labels=dict((options.labels if options else None) or {}),
    )


def _no_driver(name: str) -> NotFound:
    """Docker takes a driver that it has not for a plugin that could be there."""
    return NotFound(f'error looking up volume plugin {name}: plugin "{name}" not found')


def _image(mount: Mount) -> MountPlan:
    subpath = mount.image_options.subpath if mount.image_options else ""
    _check_subpath(subpath)
    return MountPlan(type="image", name=mount.source, propagation="rprivate", subpath=subpath)


def _check_subpath(path: str) -> None:
    """As Go's filepath.IsLocal: relative, and never above where it begins."""
    if path.startswith("/") or posixpath.normpath(path).split("/")[0] == "..":
        raise InvalidRequest("subpath must be a relative path within the volume")


def _tmpfs(mount: Mount) -> MountPlan:
    if mount.source:
        raise InvalidRequest("field Source must not be specified")
    options = mount.tmpfs_options
    words = ["ro"] if mount.read_only else []
    if options and options.mode:
        words.append(f"mode={options.mode:o}")
    if options and options.size_bytes:
        words.append(f"size={options.size_bytes}")
    for option in (options.options if options else None) or ():
        if len(option) != 1:
            raise InvalidRequest("invalid option array length")
        if option[0] not in ("exec", "noexec"):
            raise InvalidRequest("invalid option: " + option[0])
        words.append(option[0])
    return MountPlan(type="tmpfs", options=tmpfs_options(words))


# Flags of mount(8) that the runtime knows, and the options of tmpfs(5).
_TMPFS_FLAGS = frozenset(
    {"ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "noatime", "relatime", "strictatime"}
    | {"diratime", "nodiratime", "async"}
    | _PROPAGATIONS
)
_TMPFS_VALUES = frozenset({"mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"})


def tmpfs_options(words: Iterable[str]) -> list[str]:
    """Docker's defaults with the given options; a later one takes the place of its opposite. Raises InvalidRequest."""
    merged = ["noexec", "nosuid", "nodev"]
    for word in words:
        name, equals, _ = word.partition("=")
        if not (name in _TMPFS_VALUES if equals else name in _TMPFS_FLAGS):
            raise InvalidRequest(f'invalid tmpfs option ["{word}"]')
        opposite = name.removeprefix("no") if name.startswith("no") else f"no{name}"
        pair = {"ro": "rw", "rw": "ro"}.get(name, opposite)
        merged = [kept for kept in merged if kept.partition("=")[0] not in (name, pair)]
        merged.append(word)
    return merged


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """`--volumes-from CONTAINER[:MODE]` as (container, writable). Raises InvalidRequest."""
    container, _, mode = text.partition(":")
    if not text or not container:
        raise InvalidRequest("volumes-from specification cannot be an empty string")
    words = set(mode.split(","))
    if mode and (not _valid_mode(mode) or words & (_PROPAGATIONS | {"nocopy", "copy"})):
        raise InvalidRequest(f"invalid mode: {mode}")
    return container, "ro" not in words
