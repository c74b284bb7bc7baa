//! A tunnel to a host that the signer has never heard of.

use super::authority::Authority;
use super::client::{Client, first_byte};
use super::stage::{HOSTS, Stage, host};
use crate::contest::Ratio;
use crate::goal::Demand::AtMost;
use crate::goal::Goal;
use crate::process::{load_core, pin_this_thread};
use crate::report::Report;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// From the TCP connection to the first byte of the response: through the signer, and directly
/// with the making of one certificate added.
pub(super) fn time(stage: &Stage, report: &mut Report) {
    eprintln!("Signer, {HOSTS} new hosts");
    let signer = stage.subject(Some(&stage.p256));
    let authority = Authority::new("somebody who makes certificates");
    let [direct, through] = [stage.servers(), signer.authority()].map(Client::trusting);
    let port = stage.tls_server().port();
    let measure = |number| {
        let server = SocketAddr::new(host(number).into(), port);
        let ways: [&dyn Fn(); 3] = [
            &|| first_byte(&mut direct.direct(server), server),
            &|| drop(authority.issue(&[IpAddr::from(host(number))])),
            &|| first_byte(&mut through.through(signer.address(), server), server),
        ];
        ways.map(timed)
    };
    let times: Vec<_> = thread::scope(|scope| {
        let client = scope.spawn(|| {
            pin_this_thread(load_core());
            (1..=HOSTS).map(measure).collect()
        });
        client.join().expect("a thread")
    });
    let ratios = times.iter().map(|[direct, leaf, through]| {
        through.as_secs_f64() / (direct.as_secs_f64() + leaf.as_secs_f64())
    });
    let mut ratios: Vec<_> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    // The rarest tenths are the machine's doing.
    let tenth = ratios.len() / 10;
    let ratio = Ratio::of(ratios[tenth..ratios.len() - tenth].iter().copied());
    report.goals.push(Goal::ratio(
        "signer, a tunnel to a new host: time to the first byte, direct and a certificate are 1",
        AtMost(1.5),
        ratio,
    ));
    let median = |way: usize| {
        let mut all: Vec<_> = times.iter().map(|times| times[way]).collect();
        all.sort();
        all[all.len() / 2].as_micros()
    };
    report.figures.push((
        "a tunnel to a new host, until the first byte".into(),
        format!(
            "{} µs; direct {} µs, a certificate {} µs",
            median(2),
            median(0),
            median(1)
        ),
    ));
}

fn timed(what: &dyn Fn()) -> Duration {
    let started = Instant::now();
    what();
    started.elapsed()
}
