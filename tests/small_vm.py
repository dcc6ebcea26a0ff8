"""A VM with one vCPU that writes to a port so many times in real mode and halts; prints how often it left KVM for it.

Run as a program beside `perf record`: what it counts is the ground truth of the recording.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys

# ioctl numbers and structures of include/uapi/linux/kvm.h, x86.
_CREATE_VM, _GET_VCPU_MMAP_SIZE, _CREATE_VCPU, _RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE80
_SET_USER_MEMORY_REGION, _SET_REGS, _GET_SREGS, _SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
_SREGS_SIZE, _RIP, _RFLAGS = 312, 16, 17
_EXIT_IO, _EXIT_HLT = 2, 5
_MEMORY, _CODE_AT = 0x10000, 0x1000
PORT = 0x3F8


def run(times: int) -> int:
    """Run the VM and return the number of KVM_EXIT_IO that it made."""
    kvm = os.open("/dev/kvm", os.O_RDWR)
    vm = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _MEMORY)
    # mov cx, times; mov dx, PORT; again: out dx, al; loop again; hlt
    code = b"\xb9" + struct.pack("<H", times) + b"\xba" + struct.pack("<H", PORT) + b"\xee\xe2\xfd\xf4"
    memory[_CODE_AT : _CODE_AT + len(code)] = code
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, _MEMORY, address))
    vcpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    shared = mmap.mmap(vcpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
    sregs = bytearray(fcntl.ioctl(vcpu, _GET_SREGS, bytes(_SREGS_SIZE)))
    sregs[0:8], sregs[12:14] = bytes(8), bytes(2)  # cs.base, cs.selector
    fcntl.ioctl(vcpu, _SET_SREGS, bytes(sregs))
    registers = [0] * 18
    registers[_RIP], registers[_RFLAGS] = _CODE_AT, 2
    fcntl.ioctl(vcpu, _SET_REGS, struct.pack("<18Q", *registers))
    writes = 0
    while True:
        fcntl.ioctl(vcpu, _RUN, 0)
        (reason,) = struct.unpack_from("<I", shared, 8)
        if reason == _EXIT_HLT:
            return writes
        if reason != _EXIT_IO:
            raise SystemExit(f"expected KVM_EXIT_IO, found exit reason {reason}")
        writes += 1


if __name__ == "__main__":
    sys.stdout.write(f"{run(int(sys.argv[1]))}\n")
