//! What the lab needs, by purpose: packages, the programs they bring, files to boot from.

/// Tools that are set up together because they are needed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Set {
    /// Emulated machines: QEMU for arm64, UEFI and U-Boot firmware.
    Boot,
    /// DHCP, TFTP and HTTP clients, a load generator, and dnsmasq as a peer.
    Clients,
    /// arm64 files to boot: kernel, busybox, iPXE, the systemd EFI stub.
    Images,
    /// An arm64 kernel with the Raspberry Pi's drivers, and the Pi's device trees.
    PiLinux,
    /// Servers to compare with: nginx, atftpd and Kea, beside the dnsmasq of [`Set::Clients`].
    Peers,
    /// tftpd-hpa, one more server to compare with: its files lie where atftpd's do.
    TftpdHpa,
    /// wrk, many HTTP clients at once, and ethtool, which sets a cable's offloads.
    Load,
    /// tshark, to decode captures.
    Capture,
    /// A Rust compiler with sources, for targets the user's own cannot build.
    Cross,
    /// A linker and the C library for arm64 Linux.
    CrossLinker,
    /// The Rust standard library for arm64 Linux that belongs to [`Set::Cross`].
    CrossStd,
    /// What a Raspberry Pi runs before `kernel8.img`. Not free software: fetched, never committed.
    PiFirmware,
    /// fsck.fat, mtools and sgdisk, to look at disk images with others' eyes.
    Filesystems,
    /// cloud-init, docker-compose, docker-registry, skopeo and shellcheck, to try out what the
    /// bastion in AWS is given.
    Bastion,
    /// valgrind, to count instructions.
    Valgrind,
}

impl Set {
    /// Every set.
    pub const ALL: [Self; 15] = [
        Self::Boot,
        Self::Clients,
        Self::Images,
        Self::PiLinux,
        Self::Peers,
        Self::TftpdHpa,
        Self::Load,
        Self::Capture,
        Self::Cross,
        Self::CrossLinker,
        Self::CrossStd,
        Self::PiFirmware,
        Self::Filesystems,
        Self::Bastion,
        Self::Valgrind,
    ];
    /// What the demo and the end-to-end tests use.
    pub const LAB: [Self; 3] = [Self::Boot, Self::Clients, Self::Images];

    pub(super) fn spec(self) -> &'static Spec {
        match self {
            Self::Boot => &BOOT,
            Self::Clients => &CLIENTS,
            Self::Images => &IMAGES,
            Self::PiLinux => &PI_LINUX,
            Self::Peers => &PEERS,
            Self::TftpdHpa => &TFTPD_HPA,
            Self::Load => &LOAD,
            Self::Capture => &CAPTURE,
            Self::Cross => &CROSS,
            Self::CrossLinker => &CROSS_LINKER,
            Self::CrossStd => &CROSS_STD,
            Self::PiFirmware => &PI_FIRMWARE,
            Self::Filesystems => &FILESYSTEMS,
            Self::Bastion => &BASTION,
            Self::Valgrind => &VALGRIND,
        }
    }
}

/// A file of the lab, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asset {
    /// arm64 UEFI for `-bios` (4 MiB or less, no variable store).
    UefiBios,
    /// arm64 UEFI code for the first pflash drive (64 MiB, read-only).
    UefiCode,
    /// The empty variable store that belongs to [`Asset::UefiCode`]: copy it per machine.
    UefiVars,
    /// U-Boot for QEMU's `virt` machine, for `-bios`.
    UBoot,
    /// iPXE as an arm64 UEFI program.
    IpxeArm64,
    /// iPXE as an x86-64 UEFI program.
    IpxeX64,
    /// iPXE for x86 BIOS over TFTP (`undionly.kpxe`).
    IpxeBios,
    /// A plain arm64 Linux `Image` with an EFI stub.
    Kernel,
    /// The folder of modules of [`Asset::Kernel`] (`usr/lib/modules/<release>`).
    Modules,
    /// A plain arm64 Linux `Image` that has the Raspberry Pi's drivers.
    PiKernel,
    /// The folder of modules of [`Asset::PiKernel`].
    PiModules,
    /// The Raspberry Pi 3B's device tree, from the same package.
    Pi3DeviceTree,
    /// busybox as one static arm64 binary.
    Busybox,
    /// The systemd EFI stub for arm64, the first part of a unified kernel image.
    UefiStub,
    /// The folder with `bootcode.bin`, `start.elf` and the like.
    PiFirmware,
}

impl Asset {
    /// The set that brings it, and where in that set's folder it lies; `*`
    /// stands for any text within one component.
    pub(super) const fn place(self) -> (Set, &'static str) {
        match self {
            Self::UefiBios => (Set::Boot, "usr/share/qemu-efi-aarch64/QEMU_EFI.fd"),
            Self::UefiCode => (Set::Boot, "usr/share/AAVMF/AAVMF_CODE.fd"),
            Self::UefiVars => (Set::Boot, "usr/share/AAVMF/AAVMF_VARS.fd"),
            Self::UBoot => (Set::Boot, "usr/lib/u-boot/qemu_arm64/u-boot.bin"),
            Self::IpxeArm64 => (Set::Images, "usr/lib/ipxe/ipxe-arm64.efi"),
            Self::IpxeX64 => (Set::Images, "usr/lib/ipxe/ipxe-amd64.efi"),
            Self::IpxeBios => (Set::Images, "usr/lib/ipxe/undionly.kpxe"),
            Self::Kernel => (Set::Images, "boot/vmlinuz-*"),
            Self::Modules => (Set::Images, "usr/lib/modules/*"),
            Self::PiKernel => (Set::PiLinux, "boot/vmlinuz-*"),
            Self::PiModules => (Set::PiLinux, "lib/modules/*"),
            Self::Pi3DeviceTree => (
                Set::PiLinux,
                "usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb",
            ),
            Self::Busybox => (Set::Images, "usr/bin/busybox"),
            Self::UefiStub => (Set::Images, "usr/lib/systemd/boot/efi/linuxaa64.efi.stub"),
            Self::PiFirmware => (Set::PiFirmware, "usr/lib/raspi-firmware"),
        }
    }

    /// The name under which a file given by hand is found (see [`super::Tools::by_hand`]).
    #[must_use]
    pub const fn by_hand(self) -> &'static str {
        match self {
            Self::UefiBios => "QEMU_EFI.fd",
            Self::UefiCode => "AAVMF_CODE.fd",
            Self::UefiVars => "AAVMF_VARS.fd",
            Self::UBoot => "u-boot.bin",
            Self::IpxeArm64 => "ipxe-arm64.efi",
            Self::IpxeX64 => "ipxe-amd64.efi",
            Self::IpxeBios => "undionly.kpxe",
            Self::Kernel => "vmlinuz",
            Self::Modules => "modules",
            Self::PiKernel => "vmlinuz-pi",
            Self::PiModules => "modules-pi",
            Self::Pi3DeviceTree => "bcm2837-rpi-3-b.dtb",
            Self::Busybox => "busybox-arm64",
            Self::UefiStub => "linuxaa64.efi.stub",
            Self::PiFirmware => "raspi-firmware",
        }
    }

    pub(super) const ALL: [Self; 15] = [
        Self::UefiBios,
        Self::UefiCode,
        Self::UefiVars,
        Self::UBoot,
        Self::IpxeArm64,
        Self::IpxeX64,
        Self::IpxeBios,
        Self::Kernel,
        Self::Modules,
        Self::PiKernel,
        Self::PiModules,
        Self::Pi3DeviceTree,
        Self::Busybox,
        Self::UefiStub,
        Self::PiFirmware,
    ];
}

/// Where a set's packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The machine's own release and architecture, with every library that the
    /// machine lacks.
    Machine,
    /// This Debian release for arm64: the named packages alone, to be read and
    /// not run.
    DebianArm64(&'static str),
    /// The machine's own release for arm64: the named packages alone.
    MachineArm64,
}

/// A package by name, or the versioned one that a metapackage depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Package(&'static str),
    Behind(&'static str),
}

impl Wanted {
    /// The name as asked for.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Package(name) | Self::Behind(name) => name,
        }
    }
}

/// How a program shows that it runs: `program argument` prints `expected`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub program: &'static str,
    pub argument: &'static str,
    pub expected: &'static str,
}

pub(super) struct Spec {
    /// The set's folder under the tools folder, and its name to people.
    pub name: &'static str,
    pub origin: Origin,
    pub packages: &'static [Wanted],
    pub probes: &'static [Probe],
    /// How to install the programs where apt is not: system, command.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

use Wanted::{Behind, Package};

const fn probe(program: &'static str, argument: &'static str, expected: &'static str) -> Probe {
    Probe {
        program,
        argument,
        expected,
    }
}

static BOOT: Spec = Spec {
    name: "boot",
    origin: Origin::Machine,
    packages: &[
        Package("qemu-system-arm"),
        Package("qemu-efi-aarch64"),
        Package("u-boot-qemu"),
        Package("ipxe-qemu"),
    ],
    probes: &[probe("qemu-system-aarch64", "--version", "QEMU emulator")],
    elsewhere: &[
        (
            "Fedora",
            "sudo dnf install qemu-system-aarch64 edk2-aarch64 uboot-images-armv8",
        ),
        ("Arch", "sudo pacman -S qemu-system-aarch64 edk2-aarch64"),
        ("Homebrew", "brew install qemu"),
    ],
};

static CLIENTS: Spec = Spec {
    name: "clients",
    origin: Origin::Machine,
    packages: &[
        Package("curl"),
        Package("iproute2"),
        Package("tftp-hpa"),
        Package("atftp"),
        Package("busybox"),
        Package("isc-dhcp-client"),
        Package("kea-admin"),
        Package("dnsmasq-base"),
    ],
    probes: &[
        probe("curl", "--version", "curl"),
        probe("ip", "-V", "iproute2"),
        probe("tftp", "-V", "tftp-hpa"),
        probe("atftp", "--version", "atftp"),
        probe("busybox", "--help", "BusyBox"),
        probe("dhclient", "--version", "isc-dhclient"),
        probe("perfdhcp", "-v", "VERSION"),
        probe("dnsmasq", "--version", "Dnsmasq"),
    ],
    elsewhere: &[
        (
            "Fedora",
            "sudo dnf install curl iproute tftp atftp busybox dhcp-client kea dnsmasq",
        ),
        (
            "Arch",
            "sudo pacman -S curl iproute2 tftp-hpa atftp busybox dhclient kea dnsmasq",
        ),
        (
            "Homebrew",
            "brew install curl dnsmasq kea (the namespace tests need Linux)",
        ),
    ],
};

static IMAGES: Spec = Spec {
    name: "images",
    // The first release with iPXE for arm64.
    origin: Origin::DebianArm64("trixie"),
    packages: &[
        // The flavour for virtual machines: a third of the size of the full
        // one, with the UART, virtio and ena that QEMU and EC2 have.
        Behind("linux-image-cloud-arm64"),
        Package("busybox-static"),
        Package("ipxe"),
        Package("systemd-boot-efi"),
    ],
    probes: &[],
    elsewhere: &[],
};

static PI_LINUX: Spec = Spec {
    name: "pi-linux",
    // Fetched by the tests that need Linux on the emulated Pi, and by no other.
    origin: Origin::DebianArm64("bookworm"),
    packages: &[Behind("linux-image-arm64")],
    probes: &[],
    elsewhere: &[],
};

static PEERS: Spec = Spec {
    name: "peers",
    origin: Origin::Machine,
    packages: &[
        Package("nginx-light"),
        Package("atftpd"),
        Package("kea-dhcp4-server"),
    ],
    probes: &[
        probe("nginx", "-v", "nginx version"),
        probe("atftpd", "--version", "atftp"),
        probe("kea-dhcp4", "-v", "2."),
    ],
    elsewhere: &[
        ("Fedora", "sudo dnf install nginx atftp-server kea"),
        ("Arch", "sudo pacman -S nginx atftp kea"),
    ],
};

static TFTPD_HPA: Spec = Spec {
    name: "tftpd-hpa",
    origin: Origin::Machine,
    packages: &[Package("tftpd-hpa")],
    probes: &[probe("in.tftpd", "-V", "tftp-hpa")],
    elsewhere: &[
        ("Fedora", "sudo dnf install tftp-server"),
        ("Arch", "sudo pacman -S tftp-hpa"),
    ],
};

static LOAD: Spec = Spec {
    name: "load",
    origin: Origin::Machine,
    packages: &[Package("wrk"), Package("ethtool")],
    probes: &[
        probe("wrk", "-v", "wrk"),
        probe("ethtool", "--version", "ethtool version"),
    ],
    elsewhere: &[
        ("Fedora", "sudo dnf install wrk ethtool"),
        ("Arch", "sudo pacman -S wrk ethtool"),
    ],
};

static CAPTURE: Spec = Spec {
    name: "capture",
    origin: Origin::Machine,
    packages: &[Package("tshark")],
    probes: &[probe("tshark", "--version", "TShark")],
    elsewhere: &[
        ("Fedora", "sudo dnf install wireshark-cli"),
        ("Arch", "sudo pacman -S wireshark-cli"),
        ("Homebrew", "brew install wireshark"),
    ],
};

static CROSS: Spec = Spec {
    name: "cross",
    origin: Origin::Machine,
    packages: &[
        Package("rustc-web"),
        Package("cargo-web"),
        Package("rust-web-src"),
    ],
    probes: &[
        probe("rustc", "--version", "rustc"),
        probe("cargo", "--version", "cargo"),
    ],
    elsewhere: &[(
        "any system with rustup",
        "rustup target add aarch64-unknown-none",
    )],
};

static CROSS_LINKER: Spec = Spec {
    name: "cross-linker",
    origin: Origin::Machine,
    packages: &[
        Package("gcc-aarch64-linux-gnu"),
        Package("libc6-dev-arm64-cross"),
    ],
    probes: &[probe(
        "aarch64-linux-gnu-gcc",
        "--version",
        "aarch64-linux-gnu-gcc",
    )],
    elsewhere: RUSTUP_MUSL,
};

static CROSS_STD: Spec = Spec {
    name: "cross-std",
    origin: Origin::MachineArm64,
    packages: &[Package("libstd-rust-web-dev")],
    probes: &[],
    elsewhere: RUSTUP_MUSL,
};

static PI_FIRMWARE: Spec = Spec {
    name: "pi-firmware",
    origin: Origin::DebianArm64("trixie"),
    packages: &[Package("raspi-firmware")],
    probes: &[],
    elsewhere: &[],
};

static FILESYSTEMS: Spec = Spec {
    name: "filesystems",
    origin: Origin::Machine,
    packages: &[Package("dosfstools"), Package("mtools"), Package("gdisk")],
    probes: &[
        probe("fsck.fat", "--help", "fsck.fat"),
        probe("mtools", "--version", "mtools"),
        probe("sgdisk", "--version", "GPT fdisk"),
    ],
    elsewhere: &[
        ("Fedora", "sudo dnf install dosfstools mtools gdisk"),
        ("Arch", "sudo pacman -S dosfstools mtools gptfdisk"),
        ("Homebrew", "brew install dosfstools mtools gptfdisk"),
    ],
};

static BASTION: Spec = Spec {
    name: "bastion",
    origin: Origin::Machine,
    packages: &[
        Package("cloud-init"),
        Package("docker-compose"),
        Package("docker-registry"),
        Package("skopeo"),
        Package("shellcheck"),
    ],
    probes: &[
        probe("cloud-init", "--version", "cloud-init"),
        probe("docker-compose", "--version", "docker-compose"),
        probe("docker-registry", "--version", "docker-registry"),
        probe("skopeo", "--version", "skopeo"),
        probe("shellcheck", "--version", "ShellCheck"),
    ],
    elsewhere: &[(
        "Fedora",
        "sudo dnf install cloud-init docker-compose docker-distribution skopeo ShellCheck",
    )],
};

static VALGRIND: Spec = Spec {
    name: "valgrind",
    origin: Origin::Machine,
    packages: &[Package("valgrind")],
    probes: &[probe("valgrind", "--version", "valgrind-")],
    elsewhere: &[
        ("Fedora", "sudo dnf install valgrind"),
        ("Arch", "sudo pacman -S valgrind"),
    ],
};

const RUSTUP_MUSL: &[(&str, &str)] = &[(
    "any system with rustup",
    "rustup target add aarch64-unknown-linux-musl",
)];
