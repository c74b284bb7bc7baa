//! Bytes that pass untouched between a client and a server.

use super::idle::IdleTimeout;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tracing::debug;

/// Joins both sides once the client has its answer, until both have ended or either fails.
pub(super) async fn join(
    client: OnUpgrade,
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    idle_timeout: Duration,
) {
    let Ok(client) = client.await else { return };
    if let Err(error) = relay(TokioIo::new(client), upstream, idle_timeout).await {
        debug!(%error, "tunnel ended");
    }
}

/// The client's side has its timeout already, but is not read from any more once it has ended.
async fn relay(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    idle_timeout: Duration,
) -> io::Result<()> {
    let mut upstream = IdleTimeout::new(upstream, idle_timeout);
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_to_a_client_that_has_ended_is_left() {
        let (mut client, client_here) = duplex(10);
        let (mut server, server_here) = duplex(10);
        let patience = Duration::from_secs(10);
        let mut relayed = tokio::spawn(relay(client_here, server_here, patience));
        client.shutdown().await.unwrap();
        for _ in 0..3 {
            sleep(patience * 3 / 4).await;
            server.write_all(b"x").await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'x');
        }
        let ended = timeout(2 * patience, &mut relayed).await.unwrap();
        let silence = ended.unwrap().unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }
}
