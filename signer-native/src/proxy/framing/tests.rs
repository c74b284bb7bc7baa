use super::*;
use tokio::io::AsyncReadExt as _;

/// What arrives of these bytes, however they are cut, and the refusal.
async fn through(sent: &[u8]) -> (Vec<u8>, Option<Malformed>) {
    let mut results = Vec::new();
    for size in [1, 3, 1000] {
        let chunks = sent.chunks(size).map(<[u8]>::to_vec);
        let mut stream = in_pieces(chunks);
        let mut strict = StrictFraming::new(&mut stream, 1000);
        let exchange = strict.exchange();
        let mut read = Vec::new();
        strict.read_to_end(&mut read).await.unwrap();
        results.push((read, exchange.refused()));
    }
    assert!(
        results.windows(2).all(|pair| pair[0] == pair[1]),
        "{results:?}"
    );
    results.pop().unwrap()
}

/// A stream that gives one of these at each read.
fn in_pieces(chunks: impl Iterator<Item = Vec<u8>> + Unpin) -> impl AsyncRead + Unpin {
    struct Cut<I>(I);
    impl<I: Iterator<Item = Vec<u8>> + Unpin> AsyncRead for Cut<I> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(chunk) = self.0.next() {
                buffer.put_slice(&chunk);
            }
            Poll::Ready(Ok(()))
        }
    }
    Cut(chunks)
}

#[tokio::test]
async fn what_is_sound_passes_unchanged() {
    for sent in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nPOST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHos",
    ] {
        let (read, refusal) = through(sent).await;
        assert_eq!(
            String::from_utf8_lossy(&read),
            String::from_utf8_lossy(sent)
        );
        assert_eq!(refusal, None);
    }
}

#[tokio::test]
async fn the_request_before_a_refused_one_still_passes() {
    let good = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let bad = b"GET / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nokGET / ...";
    let (read, refusal) = through(&[&good[..], bad].concat()).await;
    assert_eq!(read, [&good[..], PLACEHOLDER].concat());
    assert_eq!(refusal, Some(Malformed::Lengths));
}

#[tokio::test]
async fn behind_a_malformed_chunk_nothing_passes() {
    let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [&b"0000000000000000\r\n\r\n"[..], b"0\r\nX: 1\n\r\n\r\n"];
    for body in bodies {
        let sent = [head, body, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let mut strict = StrictFraming::new(&sent[..], 1000);
        let mut read = Vec::new();
        for _ in 0..2 {
            let error = strict.read_to_end(&mut read).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(read, head);
    }
}

/// hyper would find the end of the first request before its limit.
#[tokio::test]
async fn what_is_wrong_before_the_limit_is_found_in_what_goes_beyond_it() {
    let begun = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(900));
    let ended = format!("\n\nGET / HTTP/1.1\r\nX: {}", "a".repeat(900));
    let chunks = [begun, ended].map(String::into_bytes);
    let mut strict = StrictFraming::new(in_pieces(chunks.into_iter()), 1000);
    let exchange = strict.exchange();
    let mut read = Vec::new();
    strict.read_to_end(&mut read).await.unwrap();
    assert_eq!(exchange.refused(), Some(Malformed::LineEnd));
    assert_eq!(read, PLACEHOLDER);
}

/// hyper's limit is that of its buffer, so it can find the end of a larger one.
#[tokio::test]
async fn what_is_larger_than_the_limit_is_refused_whether_it_ends_or_not() {
    for rest in ["", "\r\n\r\n"] {
        let sent = format!("GET / HTTP/1.1\r\nX: {}{rest}", "a".repeat(2000));
        let (read, refusal) = through(sent.as_bytes()).await;
        assert_eq!(
            (&read[..], refusal),
            (PLACEHOLDER, Some(Malformed::TooLarge))
        );
    }
    let (read, _) = through(&b"\r\n".repeat(1000)).await;
    assert_eq!(read, PLACEHOLDER);
}

/// 60 kB byte by byte took seconds when each read began again at the beginning.
#[tokio::test]
async fn each_byte_of_a_head_sent_byte_by_byte_is_looked_at_once() {
    let sent = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(60_000));
    let bytes = sent.bytes().map(|byte| vec![byte]);
    let mut strict = StrictFraming::new(in_pieces(bytes), 64 << 10);
    let mut input = [0; 10];
    let mut input = ReadBuf::new(&mut input);
    let mut context = Context::from_waker(std::task::Waker::noop());
    for read in 1..=sent.len() {
        assert!(strict.poll_input(&mut context).is_ready());
        strict.advance();
        let State::Head(scan) = &strict.state else {
            panic!("{:?}", strict.state);
        };
        // Counts what it was given.
        assert_eq!(scan.length(), read);
    }
    assert!(
        Pin::new(&mut strict)
            .poll_read(&mut context, &mut input)
            .is_ready()
    );
}

#[tokio::test]
async fn what_follows_an_upgrade_is_held_back_until_the_protocol_changes() {
    for head in [
        &b"CONNECT a:443 HTTP/1.1\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nUPGRADE: x\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nUpgrade:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
    ] {
        let after = b"\x16\x03\x01\0\n\nGET / HTTP/1.1\r\n\r\n";
        for pieces in [1, 1000] {
            let sent = [head, after].concat();
            let chunks: Vec<_> = sent.chunks(pieces).map(<[u8]>::to_vec).collect();
            let mut strict = StrictFraming::new(in_pieces(chunks.into_iter()), 1000);
            let mut read = vec![0; head.len()];
            strict.read_exact(&mut read).await.unwrap();
            assert_eq!(read, head);
            let mut context = Context::from_waker(std::task::Waker::noop());
            for _ in 0..2 {
                let mut space = [0; 10];
                let mut space = ReadBuf::new(&mut space);
                let held = Pin::new(&mut strict).poll_read(&mut context, &mut space);
                assert!(held.is_pending(), "{:?}", space.filled());
            }
            strict.exchange().switch();
            let mut rest = Vec::new();
            strict.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, after);
        }
    }
}

#[tokio::test]
async fn the_body_of_an_upgrade_is_read_as_strictly() {
    let head = b"GET / HTTP/1.1\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sent = [&head[..], b"0\r\nX: 1\n\r\n\r\n"].concat();
    let mut strict = StrictFraming::new(&sent[..], 1000);
    let mut read = Vec::new();
    let error = strict.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

/// hyper gives the request up then.
#[tokio::test]
async fn a_client_that_ends_while_its_upgrade_is_answered_is_seen_to_end() {
    let sent = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let mut strict = StrictFraming::new(&sent[..], 1000);
    let mut read = Vec::new();
    strict.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, sent);
}
