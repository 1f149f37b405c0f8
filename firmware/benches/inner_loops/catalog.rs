//! What `/ipxe?mac=…` and `/generic?mac=…` answer, from a catalog with a group
//! for each of a few hundred machines.

use ichor::catalog::{Catalog, Endpoint, Labels, Window};
use ichor_hal::fake::FakeFiles;

use super::Turn;
use super::dhcp::ready;

const MACHINES: u16 = 256;

/// Two roles of a Talos cluster, which differ by their configuration.
const PROFILES: [(&str, &str); 2] = [("control-plane", "control.yaml"), ("worker", "worker.yaml")];
const TEMPLATE: &str = "machine:
  network:
    hostname: {{.hostname}}
  certSANs:
  {{- range .sans}}
    - {{.}}
  {{- end}}
{{- with .install}}
  install: {disk: {{.disk}}{{if .wipe}}, wipe: true{{end}}}
{{- end}}
# {{.mac}}
";

/// One machine's iPXE script.
pub(super) fn script() -> Turn {
    answers(Endpoint::Ipxe, "#!ipxe\nkernel /assets/vmlinuz ")
}

/// One machine's configuration.
pub(super) fn config() -> Turn {
    answers(Endpoint::Generic, "machine:\n  network:\n    hostname: n")
}

fn answers(endpoint: Endpoint, begins: &'static str) -> Turn {
    let mut catalog = Box::new(Catalog::<{ 256 << 10 }, 512, 8, 8>::new());
    let files = folder();
    let loaded = ready(catalog.load(&files, &mut |problem| panic!("{problem}")));
    assert_eq!(loaded.groups, usize::from(MACHINES) + 1);
    let macs: Vec<String> = (0..MACHINES).map(mac).collect();
    let mut next = 0;
    let mut out = [0; 1024];
    Box::new(move || {
        let mac = macs[next].as_str();
        next = (next + 1) % macs.len();
        // All that iPXE says of itself.
        let labels = Labels::from_query([
            ("uuid", "5e8a1c3d-776f-4b4a-9e30-010203040506"),
            ("mac", mac),
            ("domain", "lan"),
            ("hostname", ""),
            ("serial", "0123456789"),
            ("arch", "arm64"),
        ]);
        let labels = labels.expect("room for six labels");
        let answer = catalog.answer(endpoint, &labels, "");
        let answer = answer.expect("each machine has a group");
        let mut window = Window::new(0, &mut out);
        answer.render(&mut window).expect("a window takes all");
        assert!(window.bytes().starts_with(begins.as_bytes()));
        assert_eq!(window.total(), answer.len());
    })
}

fn mac(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!("52-54-00-00-{high:02x}-{low:02x}")
}

/// A matchbox folder: a group for each machine, and one for all others.
fn folder() -> FakeFiles {
    let files = FakeFiles::new();
    for number in 0..MACHINES {
        let (profile, _) = PROFILES[usize::from(number > 2)];
        let mac = mac(number);
        let group = format!(
            r#"{{"id":"n{number}","profile":"{profile}","selector":{{"mac":"{mac}"}},
                "metadata":{{"hostname":"n{number}","sans":["n{number}.lan","cluster.lan"],
                "install":{{"disk":"/dev/sda","wipe":false}}}}}}"#
        );
        files.put(&format!("groups/n{number}.json"), group);
    }
    files.put(
        "groups/default.json",
        r#"{"id":"default","profile":"worker"}"#,
    );
    for (profile, template) in PROFILES {
        let text = format!(
            r#"{{"id":"{profile}","generic_id":"{template}","boot":{{
                "kernel":"/assets/vmlinuz","initrd":["/assets/initramfs.xz"],
                "args":["initrd=initramfs.xz","init_on_alloc=1","slab_nomerge","pti=on",
                "console=tty0","printk.devkmsg=on","talos.platform=metal",
                "talos.config=http://192.0.2.1:8080/generic?mac=${{mac:hexhyp}}"]}}}}"#
        );
        files.put(&format!("profiles/{profile}.json"), text);
        files.put(&format!("generic/{template}"), TEMPLATE);
    }
    files
}
