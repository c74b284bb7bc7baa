//! Builds of the filter beside each other, for finding out what a change brings.

use super::filters::{Nonces, filter, jwt_authn};
use super::supply::Supply;
use crate::contest::{Contender, Contest};
use crate::envoy_peer::EnvoyPeer;
use crate::http;
use crate::load::Load;
use crate::process::subject_core;
use crate::report::Report;
use crate::tokens::Key;
use std::path::PathBuf;

/// How many times as fast as an Envoy without a filter nobody is.
const MARGIN: f64 = 1.5;

/// Measures these modules, and jwt_authn and an Envoy without a filter beside them.
pub fn compare(modules: &[PathBuf], rounds: usize, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = Key::rsa();
    let again = key.token("the same token again and again");
    let start = |chains: &[_]| EnvoyPeer::start(folder.path(), subject_core(), 1, chains);
    let names = modules.iter().map(|module| module.display().to_string());
    let with = |nonces| {
        let filters = modules
            .iter()
            .map(|module| start(&[filter(module, &key, nonces)]));
        filters.collect::<Vec<_>>()
    };
    let plain = start(&[vec![]]);
    let load = Load::on(plain.listener(0));
    let speed = load.run(plain.process()).per_cpu_second;
    let turn = (speed * load.duration.as_secs_f64() * MARGIN) as usize;
    let tokens = Supply::sign(&key, 2 * turn, folder.path());
    let native = start(&[jwt_authn(&[&key], false), jwt_authn(&[&key], true)]);
    let void = with(Nonces::Void);
    let send = |envoy: &EnvoyPeer| tokens.again(Load::on(envoy.listener(0)), 0, envoy);

    let mut contenders = vec![
        Contender::new("no filter", || send(&plain)),
        Contender::new("jwt_authn", || send(&native)),
    ];
    for (name, envoy) in names.clone().zip(&void) {
        contenders.push(Contender::new(format!("{name}, void nonces"), || {
            send(envoy)
        }));
    }
    for (name, module) in names.clone().zip(modules) {
        let local = || {
            // Each turn with a store that knows none of the tokens.
            let envoy = start(&[filter(module, &key, Nonces::Local(1_000_000))]);
            send(&envoy);
            tokens.again(Load::on(envoy.listener(0)), turn, &envoy)
        };
        contenders.push(Contender::new(format!("{name}, local nonces"), local));
    }
    report.contests.push(Contest::hold(
        "Every request with a token of its own",
        rounds,
        contenders,
    ));

    let forged = key.forged("signed by nobody");
    let local = with(Nonces::Local(1_000_000));
    for envoy in &local {
        http::get(envoy.listener(0), "/", Some(&again)).expect("a response");
    }

    let repeat = |envoy: &EnvoyPeer, chain| {
        Load::on(envoy.listener(chain))
            .with_token(&again)
            .run(envoy.process())
    };
    let refuse = |envoy: &EnvoyPeer| Load::on(envoy.listener(0)).refused().run(envoy.process());
    let mut second = vec![
        Contender::new("no filter", || repeat(&plain, 0)),
        Contender::new("jwt_authn with its cache", || repeat(&native, 1)),
        Contender::new("jwt_authn, no token", || refuse(&native)),
    ];
    let refuse_token = |envoy: &EnvoyPeer, token: &str| {
        let load = Load::on(envoy.listener(0)).with_token(token);
        load.refused().run(envoy.process())
    };
    for ((name, void), local) in names.zip(&void).zip(&local) {
        second.extend([
            Contender::new(name.clone(), || repeat(void, 0)),
            Contender::new(format!("{name}, no token"), || refuse(void)),
            Contender::new(format!("{name}, bad signature"), || {
                refuse_token(void, &forged)
            }),
            Contender::new(format!("{name}, replay"), || refuse_token(local, &again)),
        ]);
    }
    report
        .contests
        .push(Contest::hold("The same token again", rounds, second));
}
