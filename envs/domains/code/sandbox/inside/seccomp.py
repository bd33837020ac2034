"""A filter on system calls for a program's process, as a small BPF program (man 2 seccomp).

It refuses what a judged program has no use for: other processes, the network, signals to others (also by way of
a file's owner) and their limits and priorities, tracing, name spaces, memory that outlives it, links (which take
the kernel's memory and none of /tmp's), and changes of a file's modes, owners, times and attributes. Threads,
files, memory and pairs of connected sockets (asyncio needs one) stay. Other means would not do where root starts
the sandbox, for then it is root to the kernel: RLIMIT_NPROC is not enforced, and the devices in /dev, which are
the host's, are its own.
"""

import ctypes
import errno
import platform
import struct
from typing import Any

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ALLOW, REFUSE, MISSING = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
LOAD, EQUAL, AT_LEAST, SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CLONE_THREAD = 0x00010000
NUMBER, ARCH, ARGUMENT = 0, 4, 16
"""Offsets in the kernel's struct seccomp_data; an argument has eight bytes, the lower four first."""
SETOWN, SETSIG, SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 10, 15, 0x8901, 0x8902
AF_UNIX = 1

# Machine -> (its audit number, the numbers of its system calls).
_X86 = {
    "clone": 56, "clone3": 435, "kill": 62, "tkill": 200, "tgkill": 234,
    "fcntl": 72, "ioctl": 16, "prlimit64": 302, "socketpair": 53, "sendto": 44,
    "refused": [
        57, 58, 59, 322,  # fork, vfork, execve, execveat
        41, 42, 43, 46, 47, 49, 50, 288, 299, 307,  # socket and its family
        109, 112, 157,  # setpgid, setsid, prctl
        141, 142, 144, 203, 251, 314,  # priorities and processors, which are of any process
        101, 310, 311, 312, 438,  # ptrace, process_vm_*, kcmp, pidfd_getfd
        129, 297, 424, 434,  # rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, pidfd_open
        165, 166, 155, 161, 272, 308, 428, 429, 430, 431, 432, 442,  # mounts, roots, name spaces
        29, 30, 31, 67, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241, 242, 243, 244, 245,  # queues
        248, 249, 250, 298, 321, 323, 425, 426, 427, 319, 135, 175, 313, 246, 320, 304, 447,  # keys, perf, bpf
        90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280,  # chmod, chown, utime and their families
        188, 189, 190, 197, 198, 199, 463, 466, 469,  # setxattr, removexattr, file_setattr
        86, 88, 265, 266,  # link, symlink
    ],
}  # fmt: skip
_ARM = {
    "clone": 220, "clone3": 435, "kill": 129, "tkill": 130, "tgkill": 131,
    "fcntl": 25, "ioctl": 29, "prlimit64": 261, "socketpair": 199, "sendto": 206,
    "refused": [
        221, 281,
        198, 200, 201, 202, 203, 211, 212, 242, 243, 269,
        154, 157, 167,
        140, 118, 119, 122, 30, 274,
        117, 270, 271, 272, 438,
        138, 240, 424, 434,
        39, 40, 41, 51, 97, 268, 428, 429, 430, 431, 432, 442,
        180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197,
        217, 218, 219, 241, 280, 282, 425, 426, 427, 279, 92, 105, 273, 104, 294, 265, 447,
        52, 53, 452, 54, 55, 88,
        5, 6, 7, 14, 15, 16, 463, 466, 469,
        36, 37,
    ],
}  # fmt: skip
_MACHINES: dict[str, tuple[int, dict[str, Any]]] = {"x86_64": (0xC000003E, _X86), "aarch64": (0xC00000B7, _ARM)}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def available() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _MACHINES


LIBC = ctypes.CDLL(None, use_errno=True)
# Made before the fork: made in each process they would touch, and so copy, more pages than most programs do.
_code: Any = None
_pids: list[int] = []


def prepare() -> None:
    """Make the filter that `install` puts into force; processes forked after this have it."""
    global _code
    if not available():
        return
    code, other = filter_for(0), filter_for(1)
    _code = ctypes.create_string_buffer(code, len(code))
    _pids[:] = [at + 4 for at in range(0, len(code), 8) if code[at : at + 8] != other[at : at + 8]]


def install(pid: int) -> None:
    """Put the prepared filter on the calling process `pid`, for good. Raises OSError where the kernel refuses."""
    if _code is None:
        return
    for place in _pids:
        struct.pack_into("=I", _code, place, pid)
    program = _Program(len(_code) // 8, ctypes.addressof(_code))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(
        PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the system call filter was refused")


def filter_for(pid: int) -> bytes:
    """The BPF program for a process: eight bytes an instruction (operation, jump if true, if false, value)."""
    audit, calls = _MACHINES[platform.machine()]
    steps = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, 0x40000000),  # the x32 numbers
        (RETURN, 0, 0, REFUSE),
        (EQUAL, 0, 1, calls["clone3"]),  # its flags lie in memory; told it is missing, libc takes clone
        (RETURN, 0, 0, MISSING),
        (EQUAL, 0, 4, calls["clone"]),
        (LOAD, 0, 0, ARGUMENT),
        (SET, 0, 1, CLONE_THREAD),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    # tkill's argument is a thread, the first of which has the process's number; abort() needs tgkill alone.
    steps += _only(calls["kill"], 0, pid) + _only(calls["tkill"], 0, pid) + _only(calls["tgkill"], 0, pid)
    steps += _only(calls["prlimit64"], 0, 0, pid)
    steps += _never(calls["fcntl"], 1, SETOWN, SETSIG, SETOWN_EX) + _never(calls["ioctl"], 1, FIOSETOWN, SIOCSPGRP)
    steps += _only(calls["socketpair"], 0, AF_UNIX)
    steps += [  # to the other end of a pair alone: the address, a pointer, is null
        (EQUAL, 0, 6, calls["sendto"]),
        (LOAD, 0, 0, ARGUMENT + 8 * 4),
        (EQUAL, 0, 3, 0),
        (LOAD, 0, 0, ARGUMENT + 8 * 4 + 4),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    for number in calls["refused"]:
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]
    steps.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


Step = tuple[int, int, int, int]


def _only(call: int, argument: int, *values: int) -> list[Step]:
    """Of this call, only those whose argument is one of the values."""
    return _sorted(call, argument, values, REFUSE, ALLOW)


def _never(call: int, argument: int, *values: int) -> list[Step]:
    """Of this call, none whose argument is one of the values."""
    return _sorted(call, argument, values, ALLOW, REFUSE)


def _sorted(call: int, argument: int, values: tuple[int, ...], otherwise: int, if_found: int) -> list[Step]:
    many = len(values)
    return [
        (EQUAL, 0, many + 3, call),
        (LOAD, 0, 0, ARGUMENT + 8 * argument),
        *((EQUAL, many - at, 0, value) for at, value in enumerate(values)),
        (RETURN, 0, 0, otherwise),
        (RETURN, 0, 0, if_found),
    ]
