"""A virtual machine in QEMU: its disk, its serial line, its screen, its power. Never knows what runs in it."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

FIRMWARE = Path("/usr/share/OVMF")


class Toolbox:
    """Where QEMU is: on this machine, or in a folder with a small Debian of its own, which takes the place of `/`."""

    def __init__(self, folder):
        self.root = Path("/")
        if not shutil.which("qemu-system-x86_64") or not (FIRMWARE / "OVMF_CODE_4M.fd").exists():
            self.root = folder
            if not (folder / "usr/bin/qemu-system-x86_64").exists():
                self.install(folder)

    @staticmethod
    def install(folder):
        """Beside the machine's own packages, which may be of versions that QEMU's would push out."""
        print(f"vm-test: installing QEMU into {folder}", flush=True)
        partial = folder.with_name(folder.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        mirror = os.environ.get("MIRROR", "http://deb.debian.org/debian")
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=essential", "--aptopt=APT::Install-Recommends \"false\"",
             "--include=qemu-system-x86,qemu-utils,ovmf,socat", "bookworm", partial, mirror],
            check=True,
        )
        partial.rename(folder)

    def command(self, *words):
        """A command line of the box."""
        words = [str(word) for word in words]
        return words if self.root == Path("/") else ["chroot", str(self.root), *words]

    def inside(self, path):
        """A path as the box's programs see it."""
        return Path(path) if self.root == Path("/") else Path("/") / Path(path).relative_to(self.root)

    def folder(self, default):
        """Where files must be that the box's programs are to see."""
        return Path(default) if self.root == Path("/") else self.root / "vm-test"


def accelerator():
    """KVM needs a processor that says it can: a device file alone is not enough."""
    flags = set(re.findall(r"\b(?:vmx|svm)\b", Path("/proc/cpuinfo").read_text()))
    usable = flags and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["-accel", "kvm", "-cpu", "host"] if usable else ["-accel", "tcg,thread=multi", "-cpu", "max"]


class Vm:
    """One machine on an overlay over an image, so that the image stays as it is."""

    def __init__(self, box, folder, image, firmware="bios", disk="virtio", card="virtio-net-pci", memory=512, size=None):
        self.box, self.folder, self.firmware = box, Path(folder), firmware
        self.disk, self.card, self.memory = disk, card, memory
        self.process, self.serial, self.log, self.lock = None, None, b"", threading.Lock()
        self.folder.mkdir(parents=True)
        base = self.folder / image.name
        os.link(image, base) if os.stat(image).st_dev == os.stat(self.folder).st_dev else shutil.copy(image, base)
        self.overlay = self.folder / "disk.qcow2"
        kind = image.suffix[1:]
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", box.inside(base), box.inside(self.overlay)]
        subprocess.run(box.command(*words, *([size] if size else [])), check=True)
        if firmware != "bios":
            name = "OVMF_VARS_4M.ms.fd" if firmware == "secureboot" else "OVMF_VARS_4M.fd"
            shutil.copy(box.root / str(FIRMWARE).lstrip("/") / name, self.folder / "vars.fd")

    def start(self, hub_port, fw_cfg=None, volume=None):
        """Power on. The guest finds the hub at 10.0.2.100:9080 and nothing else."""
        inside = self.box.inside
        words = ["qemu-system-x86_64", *accelerator(), "-m", self.memory, "-smp", 2, "-display", "none", "-vga", "std",
                 "-qmp", f"unix:{inside(self.folder / 'qmp')},server=on,wait=off",
                 "-serial", f"unix:{inside(self.folder / 'serial')},server=on,wait=off",
                 "-device", f"{self.card},netdev=net", "-device", "virtio-balloon-pci,id=balloon",
                 "-netdev", "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:9080-cmd:"
                            f"socat - TCP:127.0.0.1:{hub_port}"]
        words += self.drive_words() + self.firmware_words()
        if fw_cfg:
            words += ["-fw_cfg", f"name=opt/loop-peer/join,string={fw_cfg.replace(',', ',,')}"]
        if volume:
            words += ["-drive", f"file={inside(volume)},if=virtio,format=raw,readonly=on"]
        for name in ("qmp", "serial"):
            (self.folder / name).unlink(missing_ok=True)
        self.started = time.monotonic()
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(self.box.command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.serial = self.connect("serial")
        threading.Thread(target=self.listen, args=(self.serial,), daemon=True).start()

    def drive_words(self):
        drive = f"file={self.box.inside(self.overlay)},format=qcow2,if=none,id=disk,cache=writeback"
        device = {
            "virtio": ["-device", "virtio-blk-pci,drive=disk"],
            "ahci": ["-device", "ahci,id=ahci", "-device", "ide-hd,drive=disk,bus=ahci.0"],
            "nvme": ["-device", "nvme,drive=disk,serial=1"],
            "scsi": ["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"],
            "pvscsi": ["-device", "pvscsi", "-device", "scsi-hd,drive=disk"],
        }[self.disk]
        return ["-drive", drive, *device]

    def firmware_words(self):
        if self.firmware == "bios":
            return []
        secure = self.firmware == "secureboot"
        code = FIRMWARE / ("OVMF_CODE_4M.secboot.fd" if secure else "OVMF_CODE_4M.fd")
        words = ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                 "-drive", f"if=pflash,format=raw,unit=1,file={self.box.inside(self.folder / 'vars.fd')}"]
        return ["-machine", "q35,smm=on", *words] if secure else words

    def connect(self, name):
        path, until = self.folder / name, time.monotonic() + 30
        while True:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(path))
                return line
            except OSError:
                line.close()
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("QEMU does not run: " + (self.folder / "qemu.log").read_text()) from None
                time.sleep(0.1)

    def listen(self, line):
        while received := line.recv(4096):
            with self.lock:
                self.log += received
                with open(self.folder / "serial.log", "ab") as log:
                    log.write(received)

    def heard(self):
        """What has come over the serial line since the last call of `forget`, without the terminal's sequences."""
        with self.lock:
            return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.log).decode(errors="replace")

    def forget(self):
        with self.lock:
            self.log = b""

    def type(self, text):
        """Types on the serial line."""
        self.serial.sendall(text.encode())

    def press(self, text):
        """Types on the keyboard, whose layout is American: letters, digits and some marks."""
        names = {" ": "spc", "\n": "ret", "-": "minus", "/": "slash", ".": "dot", "=": "equal", ";": "semicolon", ",": "comma"}
        shifted = {">": "dot", "<": "comma", "&": "7", "?": "slash", "$": "4", '"': "apostrophe"}
        for character in text:
            if character in shifted or character.isupper():
                keys = ["shift", shifted.get(character, character.lower())]
            else:
                keys = [names.get(character, character)]
            self.qmp("send-key", keys=[{"type": "qcode", "data": key} for key in keys])
            time.sleep(0.1)

    def qmp(self, command, **arguments):
        with self.connect("qmp") as line, line.makefile("rw") as talk:
            talk.readline()
            for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                talk.write(json.dumps(order) + "\n")
                talk.flush()
                while True:
                    answer = json.loads(talk.readline())
                    if "return" in answer or "error" in answer:
                        break
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            return answer["return"]

    def screenshot(self, path):
        """Keeps a picture; says how much of the screen is lit, of 1."""
        picture, plain = self.folder / "screen.png", self.folder / "screen.ppm"
        self.qmp("screendump", filename=str(self.box.inside(picture)), format="png")
        self.qmp("screendump", filename=str(self.box.inside(plain)))
        shutil.copy(picture, path)
        # P6, width and height, 255, then three bytes for each dot.
        size, _, dots = plain.read_bytes().split(b"\n", 3)[1:]
        width, height = map(int, size.split())
        return sum(1 for at in range(0, 3 * width * height, 3) if any(dots[at:at + 3])) / (width * height)

    def memory_used(self):
        """Bytes that the guest could not give away, of those its kernel found, as its balloon tells."""
        balloon = "/machine/peripheral/balloon"
        self.qmp("qom-set", path=balloon, property="guest-stats-polling-interval", value=1)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            stats = self.qmp("qom-get", path=balloon, property="guest-stats")["stats"]
            # A number that the guest has not told yet is the largest there is.
            if 0 < stats["stat-available-memory"] < 1 << 60:
                return stats["stat-total-memory"] - stats["stat-available-memory"]
            time.sleep(1)
        raise RuntimeError("the guest's balloon tells nothing")

    def processor_seconds(self):
        """What QEMU has used of the host's processors since it was started."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cut_power(self):
        """Kills QEMU: nothing in the guest is told."""
        self.process.kill()
        self.process.wait()
        self.serial.close()

    def shut_down(self, within=90):
        """Presses the power button; says how many seconds the guest took."""
        began = time.monotonic()
        self.qmp("system_powerdown")
        self.process.wait(timeout=within)
        self.serial.close()
        return time.monotonic() - began

    def is_running(self):
        return self.process is not None and self.process.poll() is None
