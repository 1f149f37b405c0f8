//! What an operator types once the nodes have booted, with their addresses.

use core::fmt::Write as _;

use jiff::Timestamp;

use super::Node;
use crate::config::Config;
use crate::kinds::Context;

/// The user of Amazon Linux.
const USER: &str = "ec2-user";

/// The options for `ssh` to reach the bastion through the Instance Connect
/// endpoint, which takes connections to port 22 alone: a key is good for a
/// minute, then the tunnel is opened.
fn proxy(region: &str) -> String {
    format!(
        "-o StrictHostKeyChecking=accept-new -o ProxyCommand=\"sh -c 'aws ec2-instance-connect \
         send-ssh-public-key --region {region} --instance-id %h --instance-os-user %r \
         --ssh-public-key file://~/.ssh/id_ed25519.pub >&2 && exec aws ec2-instance-connect \
         open-tunnel --region {region} --instance-id %h'\""
    )
}

/// A command that logs in on the bastion.
pub fn ssh(region: &str, bastion: &str) -> String {
    format!("ssh {} {USER}@{bastion}", proxy(region))
}

/// A command that prints the timeline of the stack since then, as it goes on.
pub fn timeline_command(region: &str, bastion: &str, since: Timestamp) -> String {
    format!(
        "{} sudo journalctl --unit ichor --output cat --no-pager --lines all --follow \
         --since @{}",
        ssh(region, bastion),
        since.as_second()
    )
}

/// The commands from booted nodes to a cluster, and what will not work.
/// `advice` is what the machines are too small for.
pub fn next_steps(
    context: &Context,
    config: &Config,
    bastion: &str,
    nodes: &[Node],
    advice: &[String],
) -> String {
    let region = context.caller.region();
    let addresses: Vec<_> = nodes
        .iter()
        .filter_map(|node| node.address.as_deref())
        .collect();
    let Some((first, others)) = addresses.split_first() else {
        return String::new();
    };
    let cluster = format!("ichor-{}", context.lab);
    let private = config.network.private;
    let proxy = proxy(region);
    let mut text = String::new();
    for line in advice {
        let _ = writeln!(text, "# NOTE: {line}");
    }
    let _ = writeln!(
        text,
        "# 1. A way to the nodes' private addresses, left open in a shell of its own:\n\
         sshuttle --ssh-cmd {ssh} --remote {USER}@{bastion} {private}\n\
         \n\
         # 2. Machine configs whose images come through the bastion's mirrors. The patch:\n\
         cargo xtask cloud-node patch > talos-mirrors.yaml\n\
         talosctl gen config {cluster} https://{first}:6443 --config-patch @talos-mirrors.yaml\n\
         \n\
         # 3. For nodes that ichor gave no machine config (they are in maintenance mode):\n\
         talosctl apply-config --insecure --nodes {first} --file controlplane.yaml",
        ssh = quoted(&format!("ssh {proxy}")),
    );
    for other in others {
        let _ = writeln!(
            text,
            "talosctl apply-config --insecure --nodes {other} --file worker.yaml"
        );
    }
    let _ = writeln!(
        text,
        "\n\
         # 4. The cluster: bootstrap once, on the first node alone.\n\
         export TALOSCONFIG=$PWD/talosconfig\n\
         talosctl config endpoint {first}\n\
         talosctl config node {first}\n\
         talosctl bootstrap\n\
         talosctl health --wait-timeout 10m\n\
         talosctl kubeconfig ./kubeconfig\n\
         kubectl --kubeconfig ./kubeconfig get nodes -o wide\n\
         \n\
         # 5. CozyStack's operator, with the version that belongs to your Talos:\n\
         helm --kubeconfig ./kubeconfig upgrade --install cozystack \\\n  \
         oci://ghcr.io/cozystack/cozystack/cozy-installer --version X.Y.Z \\\n  \
         --namespace cozy-system --create-namespace\n\
         \n\
         # 6. When done. Each node ends by itself at its hour, too.\n\
         cargo xtask cloud-node down"
    );
    text
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell makes of a command: one word a line.
    fn words(command: &str) -> Vec<String> {
        let script = format!("printf '%s\\n' {command}");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_the_commands_as_they_are_meant() {
        let words = words(&timeline_command(
            "eu-west-1",
            "i-0ab",
            Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(
            words[..3],
            ["ssh", "-o", "StrictHostKeyChecking=accept-new"]
        );
        assert_eq!(words[3], "-o");
        let proxy = words[4].strip_prefix("ProxyCommand=sh -c '").unwrap();
        assert!(
            proxy.ends_with("open-tunnel --region eu-west-1 --instance-id %h'"),
            "{proxy}"
        );
        assert_eq!(words[5..8], ["ec2-user@i-0ab", "sudo", "journalctl"]);
        assert_eq!(words.last().unwrap(), "@0");
    }

    #[test]
    fn a_word_for_the_shell_is_one() {
        assert_eq!(words(&quoted("it's \"$HOME\"")), ["it's \"$HOME\""]);
    }
}
