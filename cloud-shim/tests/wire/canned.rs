//! A server on the loopback that gives the answers it was given, in their
//! order, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// Which request it was, in the head of every answer.
pub(crate) const REQUEST_ID: &str = "ea966190-f9aa-478e-9ede-example";

/// An answer: status, content type, body.
pub(crate) struct Answer(
    pub(crate) u16,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

/// What a client asked: the lines of the head, and the body.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The server; it has as many answers as it was given, and is then gone.
pub(crate) struct Canned {
    endpoint: String,
    thread: JoinHandle<Vec<Asked>>,
}

impl Canned {
    pub(crate) fn start<const N: usize>(answers: [Answer; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let thread = thread::spawn(move || {
            answers
                .into_iter()
                .map(|answer| {
                    let (stream, _) = listener.accept().expect("a client comes");
                    serve(stream, &answer)
                })
                .collect()
        });
        Self {
            endpoint: format!("http://{address}"),
            thread,
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it was asked, once all its answers are given.
    pub(crate) fn asked(self) -> Vec<Asked> {
        self.thread.join().expect("the server does not panic")
    }
}

/// Takes one request of a connection and ends it with the answer.
fn serve(stream: TcpStream, Answer(status, kind, body): &Answer) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("the head is text");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length is a number");
        }
        head.push_str(line);
        head.push('\n');
    }
    let mut asked = vec![0; length];
    reader.read_exact(&mut asked).expect("the body is there");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Canned\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         x-amzn-requestid: {REQUEST_ID}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut stream = reader.into_inner();
    stream
        .write_all(answer.as_bytes())
        .expect("the client waits for its answer");
    Asked {
        head,
        body: String::from_utf8(asked).expect("the body is text"),
    }
}
