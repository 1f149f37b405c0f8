//! How far nodes have come in booting, by the timeline that `ichor` prints.
//!
//! The stack tells its timeline on standard output, so it is in the bastion's
//! system journal. It is read from there line by line, in either of the
//! formats of `ichor serve --log`.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use super::{Node, Say};
use crate::error::{Error, Result};

/// Longest line that is read; one of `ichor` has some 200 bytes.
const LINE_LEN: u64 = 4096;

/// A step of a node on its way to Talos, as the timeline names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It asked for its iPXE script and got it.
    Script,
    /// The kernel went out whole.
    Kernel,
    /// An initrd went out whole.
    Initrd,
    /// It asked for its machine config and got it.
    Config,
    /// It said that it is up.
    Ready,
}

impl Step {
    /// In the order of a boot.
    const ALL: [Self; 5] = [
        Self::Script,
        Self::Kernel,
        Self::Initrd,
        Self::Config,
        Self::Ready,
    ];

    /// As the timeline names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Config => "config",
            Self::Ready => "ready",
        }
    }
}

/// How far a node has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Its name.
    pub node: String,
    /// Its steps, and after how much of the waiting each was seen.
    pub steps: BTreeMap<Step, Duration>,
    /// What was refused or broke off last.
    pub trouble: Option<String>,
}

impl Reached {
    /// Whether it has all that the bastion has for it.
    fn is_done(&self) -> bool {
        [Step::Config, Step::Ready]
            .iter()
            .any(|step| self.steps.contains_key(step))
    }
}

/// Why the timeline was read no further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum End {
    /// Every node has its config.
    Done,
    /// Not every node has, and it has been long enough.
    Late(Duration),
    /// There is no more of it, and why.
    Closed(String),
}

/// What became of the nodes that were followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Each of them.
    pub nodes: Vec<Reached>,
    /// Why it ended.
    pub end: End,
}

impl fmt::Display for Followed {
    /// What is not as it should be, and where to look.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Done => return writeln!(f, "every node has its config"),
            End::Late(after) => writeln!(
                f,
                "after {} s not every node has its config:",
                after.as_secs()
            )?,
            End::Closed(why) => writeln!(f, "the timeline cannot be read: {why}")?,
        }
        for node in &self.nodes {
            let Reached {
                node,
                steps,
                trouble,
            } = node;
            let last = steps.keys().next_back();
            write!(f, "  {node}: ")?;
            match last {
                None => writeln!(
                    f,
                    "asked for nothing. Look at its screen (`aws ec2 get-console-screenshot` or \
                     the serial console): does the loader start, has it an address, does it name \
                     the stack's?"
                )?,
                Some(Step::Script) => writeln!(
                    f,
                    "has its script and no kernel. Look at the kernel's path in its profile"
                )?,
                Some(Step::Kernel) => writeln!(
                    f,
                    "has its kernel and no initrd. Look at the initrd's path in its profile"
                )?,
                Some(Step::Initrd) => writeln!(
                    f,
                    "has its initrd and asked for no config. Look at talos.config= in its \
                     profile and at its serial console"
                )?,
                Some(done) => writeln!(f, "reached {}", done.name())?,
            }
            if let Some(trouble) = trouble {
                writeln!(f, "    last trouble: {trouble}")?;
            }
        }
        Ok(())
    }
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Line {
    mac: Option<String>,
    ip: Option<String>,
    stage: String,
    detail: String,
}

impl Line {
    /// Reads a line of either format; nothing for any other text.
    fn read(text: &str) -> Option<Self> {
        if text.starts_with('{') {
            return serde_json::from_str(text).ok();
        }
        let mut rest = text;
        let mut word = || {
            let (word, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(word)
        };
        let known = |word: &str| (word != "-").then(|| word.to_owned());
        word()?.parse::<f64>().ok()?;
        Some(Self {
            mac: known(word()?),
            ip: known(word()?),
            stage: word()?.to_owned(),
            detail: rest.trim().to_owned(),
        })
    }

    /// Whether it is about this node. The stack knows the address for sure,
    /// and the MAC if the node told it.
    fn is_about(&self, node: &Node) -> bool {
        let same = |told: &Option<String>, known: &Option<String>| {
            let (told, known) = (told.as_deref(), known.as_deref());
            told.is_some_and(|told| known.is_some_and(|known| told.eq_ignore_ascii_case(known)))
        };
        same(&self.mac, &node.mac) || same(&self.ip, &node.address)
    }
}

/// Reads a timeline until every node has its config, for at most `within`, and
/// says what each node does as it does it.
///
/// # Errors
///
/// If the lines cannot be read.
pub async fn follow(
    nodes: &[Node],
    lines: impl AsyncBufRead + Unpin,
    within: Duration,
    say: Say<'_>,
) -> Result<Followed> {
    let start = Instant::now();
    let mut reached: Vec<_> = nodes
        .iter()
        .map(|node| Reached {
            node: node.name.clone(),
            steps: BTreeMap::new(),
            trouble: None,
        })
        .collect();
    let mut lines = lines;
    let mut bytes = Vec::new();
    let end = loop {
        if reached.iter().all(Reached::is_done) {
            break End::Done;
        }
        bytes.clear();
        let mut line = (&mut lines).take(LINE_LEN);
        let read = line.read_until(b'\n', &mut bytes);
        match timeout_at(start + within, read).await {
            Err(_) => break End::Late(within),
            Ok(Err(error)) => break End::Closed(error.to_string()),
            Ok(Ok(0)) => break End::Closed("it has ended".to_owned()),
            Ok(Ok(_)) => {}
        }
        let Some(line) = Line::read(String::from_utf8_lossy(&bytes).trim_end()) else {
            continue;
        };
        let about = nodes.iter().zip(&mut reached);
        for (_, reached) in about.filter(|(node, _)| line.is_about(node)) {
            note(reached, &line, start.elapsed(), say);
        }
    };
    Ok(Followed {
        nodes: reached,
        end,
    })
}

/// Notes a line about a node, and says it if it is news.
fn note(reached: &mut Reached, line: &Line, after: Duration, say: Say<'_>) {
    let Line { stage, detail, .. } = line;
    let step = Step::ALL.into_iter().find(|step| step.name() == stage);
    match step {
        // A node may fetch several initrds, and its config again.
        Some(step) if reached.steps.contains_key(&step) => return,
        Some(step) => {
            reached.steps.insert(step, after);
        }
        None if matches!(stage.as_str(), "refused" | "failed") => {
            reached.trouble = Some(format!("{stage}: {detail}"));
        }
        None => return,
    }
    let seconds = after.as_secs_f64();
    say(&format!(
        "{seconds:7.1}s  {}  {stage:7}  {detail}",
        reached.node
    ));
}

/// [`follow`]s the timeline that a shell command prints.
///
/// # Errors
///
/// If there is no shell to run it.
pub async fn follow_command(
    nodes: &[Node],
    command: &str,
    within: Duration,
    say: Say<'_>,
) -> Result<Followed> {
    let cannot = |error| Error::io("sh", error);
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    let Some(output) = child.stdout.take() else {
        return Err(cannot(std::io::Error::other("it has no output")));
    };
    let mut followed = follow(nodes, BufReader::new(output), within, say).await?;
    if let End::Closed(why) = &mut followed.end {
        let status = child.wait().await.map_err(cannot)?;
        *why = format!("{status} from: {command}");
    }
    Ok(followed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> Node {
        Node {
            id: format!("i-{number}"),
            name: format!("ichor-home-node-{number}"),
            state: "running".to_owned(),
            address: Some(format!("10.20.13.{number}")),
            mac: Some(format!("02:00:00:00:00:0{number}")),
            instance_type: "t4g.small".to_owned(),
            launched: jiff::Timestamp::UNIX_EPOCH,
            ends: None,
        }
    }

    #[test]
    fn reads_both_formats_and_nothing_else() {
        let kernel = Line {
            mac: Some("52:54:00:00:00:01".to_owned()),
            ip: Some("192.0.2.50".to_owned()),
            stage: "kernel".to_owned(),
            detail: "a \"quoted\" path".to_owned(),
        };
        // As `ichor serve` writes it (boards/bastion/src/output.rs).
        let text = "   12.034 52:54:00:00:00:01 192.0.2.50      kernel    a \"quoted\" path";
        assert_eq!(Line::read(text), Some(kernel.clone()));
        let json = r#"{"seq":3,"ms":12034,"mac":"52:54:00:00:00:01","ip":"192.0.2.50","stage":"kernel","detail":"a \"quoted\" path"}"#;
        assert_eq!(Line::read(json), Some(kernel));
        let text = "    3.001 -                 10.20.13.7      script    /ipxe";
        let script = Line::read(text).unwrap();
        assert_eq!(
            (script.mac, script.ip.as_deref()),
            (None, Some("10.20.13.7"))
        );
        for other in [
            "",
            "serving on 10.20.13.141",
            "{}",
            "{",
            "1.0 -",
            "-- No entries --",
        ] {
            assert_eq!(Line::read(other), None, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tells_what_each_node_does_until_all_have_their_config() {
        let timeline = "\
            ichor 0.1.0\n\
            1.000 - 10.20.13.1 script /ipxe\n\
            2.000 02:00:00:00:00:01 10.20.13.1 kernel assets/k (5 bytes in 1 ms)\n\
            2.100 02:00:00:00:00:09 10.20.13.9 config not ours\n\
            2.500 - 10.20.13.2 refused no such path on this server\n\
            3.000 02:00:00:00:00:01 10.20.13.1 config /generic\n\
            3.100 02:00:00:00:00:01 10.20.13.1 config /generic\n\
            4.000 02:00:00:00:00:02 - config /generic\n\
            5.000 02:00:00:00:00:02 - ready too late to be read\n";
        let mut said = Vec::new();
        let followed = follow(
            &[node(1), node(2)],
            timeline.as_bytes(),
            Duration::from_secs(60),
            &mut |line| said.push(line.to_owned()),
        )
        .await
        .unwrap();
        assert_eq!(followed.end, End::Done);
        let steps: Vec<Vec<_>> = followed
            .nodes
            .iter()
            .map(|node| node.steps.keys().copied().collect())
            .collect();
        assert_eq!(
            steps,
            [
                vec![Step::Script, Step::Kernel, Step::Config],
                vec![Step::Config]
            ]
        );
        assert_eq!(said.len(), 5, "{said:#?}");
        assert!(said[2].contains("node-2  refused"), "{said:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_and_says_where_each_node_is() {
        let (mut writer, reader) = tokio::io::duplex(1024);
        let line = b"1.000 - 10.20.13.1 initrd assets/i\n";
        tokio::io::AsyncWriteExt::write_all(&mut writer, line)
            .await
            .unwrap();
        let within = Duration::from_secs(600);
        let followed = follow(
            &[node(1), node(2)],
            BufReader::new(reader),
            within,
            &mut |_| {},
        )
        .await
        .unwrap();
        assert_eq!(followed.end, End::Late(within));
        let text = followed.to_string();
        assert!(
            text.contains("node-1: has its initrd and asked for no config"),
            "{text}"
        );
        assert!(text.contains("node-2: asked for nothing"), "{text}");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_named() {
        let within = Duration::from_secs(60);
        let followed = follow_command(&[node(1)], "exit 3", within, &mut |_| {})
            .await
            .unwrap();
        let text = followed.to_string();
        assert!(text.contains("exit status: 3 from: exit 3"), "{text}");
        let command = "echo '1.0 - 10.20.13.1 config /generic'; exec sleep 1000";
        let followed = follow_command(&[node(1)], command, within, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(followed.end, End::Done);
    }
}
