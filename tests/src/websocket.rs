//! WebSockets: a service that sends every message back, and a client.

use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// A running service.
pub struct WebSocketService {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl WebSocketService {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebSocketService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    socket.send(Message::text("welcome")).await?;
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

/// An open WebSocket.
pub struct WebSocket(WebSocketStream<TcpStream>);

impl WebSocket {
    /// Opens one at `address`; the error is the status of the refusal.
    pub async fn open(address: SocketAddr, authorization: Option<&str>) -> Result<Self, u16> {
        let stream = TcpStream::connect(address)
            .await
            .expect("the peer accepts connections");
        let mut request = format!("ws://{address}/chat")
            .into_client_request()
            .expect("a request");
        if let Some(authorization) = authorization {
            let value = authorization.parse().expect("a header's value");
            request.headers_mut().insert("authorization", value);
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) {
        self.0.send(message).await.expect("an open WebSocket");
    }

    /// The next message.
    pub async fn receive(&mut self) -> Message {
        let message = self.0.next().await.expect("a message");
        message.expect("a message")
    }
}
