//! An upstream that answers with bytes as they are: what a real server sends now and then, and no
//! library would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Which request of this connection it is, counted from 0.
    pub number: usize,
    /// The request line.
    pub line: String,
    /// The lines of the header section.
    pub fields: Vec<String>,
    /// The body, without the framing of its chunks.
    pub body: String,
    /// The lines of the trailer section.
    pub trailers: Vec<String>,
}

impl RawRequest {
    /// The values of a field; names are in lower case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let pairs = self.fields.iter().filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

/// What is sent for a request.
#[derive(Clone, Debug)]
pub enum Sent {
    /// These bytes, and the connection goes on.
    Whole(String),
    /// These bytes, and the connection ends.
    ThenClose(String),
}

type Script = dyn Fn(&RawRequest) -> Sent + Send + Sync;

/// A running upstream.
pub struct RawUpstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<RawRequest>>>,
    task: JoinHandle<()>,
}

impl RawUpstream {
    /// Starts on a free port.
    pub async fn start(script: impl Fn(&RawRequest) -> Sent + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<Mutex<Vec<_>>>::default();
        let task = tokio::spawn(serve(listener, received.clone(), Arc::new(script)));
        Self {
            address,
            received,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has received so far.
    pub fn received(&self) -> Vec<RawRequest> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with this text.
pub fn ok(text: &str) -> Sent {
    let length = text.len();
    Sent::Whole(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
    ))
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Vec<RawRequest>>>, script: Arc<Script>) {
    let mut connection = 0;
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(
            stream,
            connection,
            received.clone(),
            script.clone(),
        ));
        connection += 1;
    }
}

async fn converse(
    stream: TcpStream,
    connection: usize,
    received: Arc<Mutex<Vec<RawRequest>>>,
    script: Arc<Script>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    for number in 0.. {
        let request = read(&mut stream, connection, number).await?;
        received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        let (bytes, ends) = match script(&request) {
            Sent::Whole(bytes) => (bytes, false),
            Sent::ThenClose(bytes) => (bytes, true),
        };
        stream.write_all(bytes.as_bytes()).await.ok()?;
        if ends {
            break;
        }
    }
    // The peer reads to the end before it learns of it.
    stream.shutdown().await.ok()
}

async fn read(
    stream: &mut BufReader<TcpStream>,
    connection: usize,
    number: usize,
) -> Option<RawRequest> {
    let line = read_line(stream).await?;
    let mut request = RawRequest {
        connection,
        number,
        line,
        fields: read_lines(stream).await?,
        body: String::new(),
        trailers: Vec::new(),
    };
    let mut body = Vec::new();
    if request.values("transfer-encoding") == ["chunked"] {
        loop {
            let size = usize::from_str_radix(&read_line(stream).await?, 16).ok()?;
            if size == 0 {
                break;
            }
            body.extend(read_bytes(stream, size).await?);
            read_line(stream).await?;
        }
        request.trailers = read_lines(stream).await?;
    } else if let [length] = request.values("content-length")[..] {
        body = read_bytes(stream, length.parse().ok()?).await?;
    }
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

async fn read_bytes(stream: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

/// The lines up to an empty one.
async fn read_lines(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Some(lines);
        }
        lines.push(line);
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    let length = stream.read_until(b'\n', &mut line).await.ok()?;
    let line = String::from_utf8_lossy(&line);
    (length > 0).then(|| line.trim_end().to_owned())
}
