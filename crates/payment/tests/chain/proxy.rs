//! An endpoint between a ledger and anvil that misbehaves as it is told.

use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest that a hanging answer is held back; far longer than any test's time-out.
const HANG: Duration = Duration::from_secs(20);

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: it is passed on, and so is the answer.
    None,
    /// Another request is passed on in its place.
    Instead(Value),
    /// This result, and nothing is passed on.
    Result(Value),
    /// This error, with code -32000, and nothing is passed on.
    Says(String),
    /// An HTTP status without JSON.
    Status(u16),
    /// No answer for a long time, and nothing is passed on.
    Hang,
    /// It is passed on, and the connection is cut before the answer.
    CutAfter,
    /// The connection is cut at once.
    CutBefore,
    /// An answer that is no JSON.
    Garbage,
    /// JSON of so many bytes.
    Huge(usize),
}

type Rule = Box<dyn FnMut(&Value) -> Fault + Send>;

struct Shared {
    target: String,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Value>>,
    ends: AtomicBool,
}

pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Passes everything on to `target` until it is told otherwise.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            target: target.trim_start_matches("http://").to_owned(),
            rule: Mutex::new(Box::new(|_| Fault::None)),
            asked: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ends.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || {
                    // Whoever asked may be gone; it is for the test to say whether that matters.
                    let _ = shared.serve(stream);
                });
            }
        });
        Self { url, shared }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on this decides on each request.
    pub fn rule(&self, rule: impl FnMut(&Value) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    pub fn behave(&self) {
        self.rule(|_| Fault::None);
    }

    /// The first so many broadcasts go wrong this way, everything else goes right.
    pub fn spoil_broadcasts(&self, mut count: usize, fault: Fault) {
        self.rule(move |request| {
            if request["method"] != "eth_sendRawTransaction" || count == 0 {
                return Fault::None;
            }
            count -= 1;
            fault.clone()
        });
    }

    /// All requests that were heard, whatever became of them.
    pub fn asked(&self) -> Vec<Value> {
        lock(&self.shared.asked).clone()
    }

    /// How often a method was asked for.
    pub fn count(&self, method: &str) -> usize {
        let asked = lock(&self.shared.asked);
        asked.iter().filter(|one| one["method"] == method).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let body = read_message(&mut client)?;
        let request: Value = serde_json::from_slice(&body)?;
        lock(&self.asked).push(request.clone());
        let fault = lock(&self.rule)(&request);
        let with = |key: &str, value: Value| json!({ "jsonrpc": "2.0", "id": 1, key: value });
        match fault {
            Fault::None => answer(&mut client, 200, &self.forward(&body)?),
            Fault::Instead(other) => {
                let forwarded = self.forward(other.to_string().as_bytes())?;
                answer(&mut client, 200, &forwarded)
            }
            Fault::Result(result) => answer(
                &mut client,
                200,
                with("result", result).to_string().as_bytes(),
            ),
            Fault::Says(message) => {
                let error = with("error", json!({ "code": -32000, "message": message }));
                answer(&mut client, 200, error.to_string().as_bytes())
            }
            Fault::Status(status) => answer(&mut client, status, b"<html>sorry</html>"),
            Fault::Hang => {
                let step = Duration::from_millis(100);
                for _ in 0..HANG.as_millis() / step.as_millis() {
                    if self.ends.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(step);
                }
                Ok(())
            }
            Fault::CutAfter => self.forward(&body).map(drop),
            Fault::CutBefore => Ok(()),
            Fault::Garbage => answer(&mut client, 200, b"\x00\xff{{{"),
            Fault::Huge(bytes) => {
                let result = with("result", json!("0x".to_owned() + &"0".repeat(bytes)));
                answer(&mut client, 200, result.to_string().as_bytes())
            }
        }
    }

    fn forward(&self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(&self.target)?;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.target,
            body.len()
        );
        server.write_all(head.as_bytes())?;
        server.write_all(body)?;
        read_message(&mut server)
    }
}

fn answer(client: &mut TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

/// The body of a request or an answer.
fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}
