use super::*;
use std::net::Ipv4Addr;

fn source(number: u8) -> Source {
    std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, number)).into()
}

fn limited(connections: usize, silent_per_source: usize) -> Connections {
    Connections::new(Limits {
        connections,
        silent_per_source,
    })
}

fn speaking(connections: &Connections, number: u8) -> Connection {
    let connection = connections.admit(source(number));
    connection.head_arrived();
    connection
}

/// Whether it has been told to close.
fn must_close(connection: &Connection) -> bool {
    let told = std::pin::pin!(connection.must_close());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    told.poll(&mut context).is_ready()
}

fn told(all: &[Connection]) -> Vec<usize> {
    let told = all.iter().enumerate().filter(|(_, it)| must_close(it));
    told.map(|(index, _)| index).collect()
}

#[test]
fn silent_connections_of_one_source_are_bounded_and_the_oldest_closes() {
    let connections = limited(100, 3);
    let of_one: Vec<_> = (0..5).map(|_| connections.admit(source(1))).collect();
    let of_other = connections.admit(source(2));
    assert_eq!(told(&of_one), [0, 1]);
    assert!(!must_close(&of_other));
    assert_eq!(connections.open(), 4);
}

#[test]
fn connections_that_have_spoken_are_not_bounded_by_source() {
    let connections = limited(100, 3);
    let all: Vec<_> = (0..50).map(|_| speaking(&connections, 1)).collect();
    assert_eq!(told(&all), [0; 0]);
    assert_eq!(connections.open(), 50);
}

#[test]
fn when_full_the_oldest_silent_one_of_the_source_with_most_closes() {
    let connections = limited(6, 6);
    let mut all = vec![connections.admit(source(1))];
    all.extend((0..3).map(|_| connections.admit(source(2))));
    all.extend((0..2).map(|_| speaking(&connections, 3)));
    all.push(connections.admit(source(4)));
    assert_eq!(told(&all), [1]);
    all.push(connections.admit(source(1)));
    assert_eq!(told(&all), [2]);
    // Of sources with equally many, the one that has waited longest.
    all.push(connections.admit(source(4)));
    assert_eq!(told(&all), [0]);
    assert_eq!(connections.open(), 6);
}

#[test]
fn when_full_of_speakers_the_one_unheard_for_longest_closes() {
    let connections = limited(4, 4);
    let mut all = vec![speaking(&connections, 9)];
    all.extend((0..3).map(|_| speaking(&connections, 1)));
    all[1].head_arrived();
    all.push(connections.admit(source(2)));
    assert_eq!(told(&all), [2]);
}

#[test]
fn a_new_connection_is_admitted_however_full_it_is() {
    let connections = limited(1, 1);
    for number in 0..200 {
        let connection = speaking(&connections, number);
        let next = connections.admit(source(number));
        assert!(must_close(&connection) && !must_close(&next));
    }
    assert_eq!(connections.open(), 0);
}

#[test]
fn a_closed_connection_leaves_nothing_behind() {
    let connections = limited(3, 3);
    for _ in 0..10 {
        drop(speaking(&connections, 1));
        drop(connections.admit(source(1)));
        let closing = connections.admit(source(1));
        connections.make_room();
        assert!(must_close(&closing));
        // Its last head comes too late.
        closing.head_arrived();
    }
    connections.make_room();
    let table = connections.lock();
    assert!(table.open.is_empty());
    assert_eq!((table.silent.first(), table.speaking.first()), (None, None));
}

#[test]
fn a_limit_is_shared_out() {
    let limits = Limits::of(1_000);
    assert_eq!((limits.connections, limits.silent_per_source), (1_000, 125));
    assert_eq!(Limits::of(1).silent_per_source, 1);
    assert_eq!(Limits::of(1_000_000).silent_per_source, 512);
}

#[test]
fn a_connection_at_work_does_not_close_for_another_one() {
    let connections = limited(2, 2);
    let busy = Arc::new(connections.admit(source(1)));
    let (request, another) = (busy.request(), busy.request());
    let idle = speaking(&connections, 2);
    drop(request);
    drop(connections.admit(source(3)));
    assert!(must_close(&idle) && !must_close(&busy));
    drop(another);
    let silent = connections.admit(source(3));
    // It has spoken, so a silent one closes first.
    connections.make_room();
    assert!(must_close(&silent) && !must_close(&busy));
    connections.make_room();
    assert!(must_close(&busy));
}

#[test]
fn what_only_prepares_for_requests_leaves_a_connection_silent() {
    let connections = limited(10, 2);
    let tunnel = Arc::new(connections.admit(source(1)));
    let connect = tunnel.preparation();
    let second = connections.admit(source(1));
    drop(connect);
    assert!(!must_close(&tunnel) && !must_close(&second));
    // Two are silent now, and the next one closes the older.
    let _third = connections.admit(source(1));
    assert!(must_close(&tunnel) && !must_close(&second));
}

#[tokio::test]
async fn there_is_room_once_a_connection_ends_its_work_or_closes() {
    let connections = limited(1, 1);
    connections.room().await;
    let busy = Arc::new(connections.admit(source(1)));
    for ends in [true, false] {
        let work = busy.request();
        let waiting = connections.clone();
        let room = tokio::spawn(async move { waiting.room().await });
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        match ends {
            true => drop(work),
            false => connections.lock().close(busy.id),
        }
        room.await.unwrap();
    }
}
