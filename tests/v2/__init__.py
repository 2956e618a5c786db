"""The lane of cgroup v2: a chosen part of the suite in a small virtual machine whose only cgroup hierarchy is v2.

`make test-v2` runs it (`tests/v2/lane.py`), whatever cgroups the machine at hand has. In the guest is Debian's stock
kernel, taken out of its package, and this machine's own files: `/` comes over 9p, read-only, with a tmpfs on top, so
the virtual environment, the docker client and the tests are those of here, and nothing the guest writes is kept.

- `lane.py`     the command: boots the machine, shows what it says, ends with its status
- `machine.py`  qemu: KVM where it works, its interpreter TCG where not (about 13 times slower)
- `kernel.py`   the kernel from Debian's package, and the initramfs made for it
- `guest/`      what runs inside: `init` of the initramfs, then `setup`, or systemd with `systemd-setup`
- `chosen.txt`  the tests
- `short.txt`   those of them that `.ci/run` runs after the suite
- `systemd.txt` the tests for the second boot, under systemd as PID 1

The tests wait longer there (`support.patience`). One boot without systemd runs most of them: the engine then makes its
groups by plain files. A second one, where this machine has systemd to boot, shows delegation.
"""
