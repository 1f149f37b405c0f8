//! A card for the CM3: made, looked at with others' tools, flashed onto a file.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ichor_lab::checksum::sha256;
use ichor_lab::tools::{Set, Tools};

const MIB: u64 = 1 << 20;

/// `cargo xtask` in the workspace.
fn xtask(arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--"])
        .args(arguments)
        .current_dir(workspace)
        .output()
        .unwrap()
}

fn succeeded(output: Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    told
}

/// A folder that is there for one test.
struct Folder(PathBuf);

impl Folder {
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_at(image: &str, at: u64, len: usize) -> Vec<u8> {
    let mut file = File::open(image).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes).unwrap();
    bytes
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

#[test]
fn a_card_is_made_and_flashed() {
    let tools = Tools::with(&[Set::Filesystems, Set::PiFirmware]).unwrap();
    let folder = std::env::temp_dir().join(format!("ichor-card-image-{}", std::process::id()));
    let folder = Folder(folder);
    let kernel: Vec<u8> = (0..700_001_u32).map(|at| (at % 253) as u8).collect();
    let kernel_path = folder.file("kernel8.img", &kernel);
    let long = "data/assets/deep/A long name with späces.bin";
    let asset: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 3 % 251) as u8).collect();
    folder.file(long, &asset);
    folder.file("data/ichor.toml", b"[dhcp]\n");
    for machine in 0..200 {
        folder.file(
            &format!("data/groups/machine-number-{machine}.json"),
            b"{}\n",
        );
    }
    let (data, image) = (folder.path("data"), folder.path("card.img"));
    let told = succeeded(xtask(&[
        "image",
        "--kernel",
        &kernel_path,
        "--data",
        &data,
        "--out",
        &image,
        "--size",
        "100",
    ]));
    assert!(told.contains("100 MiB rounded up to 128 MiB"), "{told}");
    assert_eq!(fs::metadata(&image).unwrap().len(), 128 * MIB);

    // The partitions: FAT32 from the first MiB on, four MiB for leases at the end.
    let mbr = read_at(&image, 0, 512);
    assert_eq!((mbr[450], mbr[466]), (0x0C, 0xDA));
    assert_eq!((number(&mbr, 454), number(&mbr, 458)), (2048, 123 * 2048));
    assert_eq!(
        (number(&mbr, 470), number(&mbr, 474)),
        (124 * 2048, 4 * 2048)
    );
    let leases = read_at(&image, 124 * MIB, 4 << 20);
    assert!(leases.iter().all(|byte| *byte == 0));

    // The file system, as dosfstools see it.
    let partition = folder.path("partition");
    fs::write(&partition, read_at(&image, MIB, 123 << 20)).unwrap();
    let mut fsck = tools.command("fsck.fat").unwrap();
    let told = succeeded(fsck.args(["-n", "-v", &partition]).output().unwrap());
    assert!(told.contains("FATs, 32 bit entries"), "{told}");

    // The files, as mtools read them.
    let place = format!("{image}@@1M");
    let mtools = |program: &str, path: &str| {
        let mut command = tools.command(program).unwrap();
        command.env("LC_ALL", "C.UTF-8").args(["-i", &place, path]);
        if program == "mcopy" {
            command.arg("-");
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {path}: {errors}");
        output.stdout
    };
    assert!(mtools("mcopy", "::kernel8.img") == kernel);
    assert!(mtools("mcopy", &format!("::{}", &long["data/".len()..])) == asset);
    assert_eq!(mtools("mcopy", "::groups/machine-number-199.json"), b"{}\n");
    assert_eq!(mtools("mcopy", "::ichor.toml"), b"[dhcp]\n");
    let config = String::from_utf8(mtools("mcopy", "::config.txt")).unwrap();
    assert!(config.contains("\narm_64bit=1\n"), "{config}");
    assert!(!mtools("mcopy", "::bootcode.bin").is_empty());
    assert!(!mtools("mcopy", "::start_cd.elf").is_empty());
    let key = mtools("mcopy", "::ichor.key");
    assert_eq!(key.len(), 65);
    assert_eq!(key, fs::read(folder.path("push.key")).unwrap());
    let label = String::from_utf8(mtools("mdir", "::")).unwrap();
    assert!(label.contains("Volume in drive : is ICHOR"), "{label}");

    // Onto a file, and read back from it.
    let card = folder.path("card");
    let told = succeeded(xtask(&["flash", "--image", &image, "--to", &card]));
    let sum = sha256(File::open(&image).unwrap()).unwrap();
    assert!(told.contains(&sum), "{told}");
    assert_eq!(sha256(File::open(&card).unwrap()).unwrap(), sum);
    // Nobody answers that the file may be replaced.
    let refused = xtask(&["flash", "--image", &image, "--to", &card]);
    assert!(!refused.status.success());
    succeeded(xtask(&["flash", "--yes", "--image", &image, "--to", &card]));
}
