use super::*;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Larger than what the buffers of two sockets take.
const LARGE: usize = 64 << 20;

async fn start(max_connections: usize) -> Listening {
    let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let router = Router::new()
        .route("/", get(|| async {}))
        .route("/large", get(|| async { vec![b'x'; LARGE] }));
    bound.serve(router, None, max_connections)
}

async fn connect(server: &Listening) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

async fn ask(client: &mut TcpStream) {
    client.write_all(REQUEST).await.unwrap();
    let mut answer = [0; 1024];
    let length = client.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
}

/// Waits until the server closes it.
async fn closed(client: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn beyond_the_limit_the_client_unheard_for_longest_makes_room() {
    let server = start(2).await;
    let mut recent = connect(&server).await;
    ask(&mut recent).await;
    let mut oldest = connect(&server).await;
    ask(&mut oldest).await;
    ask(&mut recent).await;
    let mut another = connect(&server).await;
    ask(&mut another).await;
    closed(&mut oldest).await;
    ask(&mut recent).await;
}

#[tokio::test]
async fn beyond_the_limit_a_silent_client_makes_room_before_one_that_has_spoken() {
    let server = start(2).await;
    let mut speaking = connect(&server).await;
    ask(&mut speaking).await;
    for _ in 0..50 {
        let mut silent = connect(&server).await;
        let another = connect(&server).await;
        closed(&mut silent).await;
        ask(&mut speaking).await;
        drop(another);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_disconnected() {
    let server = start(10).await;
    let started = tokio::time::Instant::now();
    let mut client = connect(&server).await;
    closed(&mut client).await;
    assert!(started.elapsed() < FIRST_HEAD_TIMEOUT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_a_byte_a_second_is_not_waited_for() {
    let server = start(10).await;
    for spoken in [false, true] {
        let mut client = connect(&server).await;
        if spoken {
            ask(&mut client).await;
        }
        let started = tokio::time::Instant::now();
        let (mut read, mut write) = client.into_split();
        let drip = async {
            write.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = drip => {}
            _ = read.read_to_end(&mut answer) => {}
        }
        let bound = if spoken {
            NEXT_HEAD_TIMEOUT
        } else {
            FIRST_HEAD_TIMEOUT
        };
        assert!(started.elapsed() < bound * 2, "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answer_is_disconnected() {
    let server = start(10).await;
    let mut client = connect(&server).await;
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut first = [0; 1];
    client.read_exact(&mut first).await.unwrap();
    sleep(WRITE_TIMEOUT * 2).await;
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.len() < LARGE, "{}", rest.len());
}
