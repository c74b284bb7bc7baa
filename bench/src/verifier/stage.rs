//! Everybody who takes part, and what each is sent.

use super::filters::{Nonces, filter, idle, jwt_authn};
use super::supply::Supply;
use crate::envoy_peer::EnvoyPeer;
use crate::load::{Load, Sample};
use crate::process::{all_cores, subject_core};
use crate::tokens::Key;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// How many times as fast as jwt_authn nobody who takes tokens is.
const MARGIN: f64 = 1.5;

/// The contests in which the filter uses up RS256 tokens, each with a turn to warm up.
const CONTESTS: usize = 3;

/// How many turns it takes to use what is replayed in one.
const TURNS_OF_REPLAYS: u32 = 2;

/// Those who run with two workers.
#[derive(Clone, Copy)]
pub(super) enum TwoWorkers {
    Plain,
    JwtAuthn,
    Filter,
}

/// One Envoy for each contender; all on one core, where only one at a time has work.
pub(super) struct Stage {
    plain: EnvoyPeer,
    idle: EnvoyPeer,
    native: EnvoyPeer,
    void: EnvoyPeer,
    loaded: EnvoyPeer,
    rsa: Key,
    rsa_tokens: Supply,
    p256_tokens: Supply,
    live_nonces: usize,
    /// More requests with RS256 tokens than anybody answers in one turn.
    turn: usize,
    /// Room for the nonces of all tokens.
    capacity: usize,
    module: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// Signs the tokens and starts everybody.
    pub(super) fn set(rounds: usize, live_nonces: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let module = folder.path().join("filter.wasm");
        fs::write(&module, envoy::FILTER_WASM).expect("a file");
        let idle_module = folder.path().join("idle.wasm");
        let bytes = wat::parse_str(include_str!("idle.wat")).expect("a module");
        fs::write(&idle_module, bytes).expect("a file");
        let (rsa, p256) = (Key::rsa(), Key::p256());
        let start = |chains: &[_]| EnvoyPeer::start(folder.path(), subject_core(), 1, chains);
        eprintln!("finding out how many tokens a turn takes");
        let native = start(&[jwt_authn(&[&rsa, &p256], false), jwt_authn(&[&rsa], true)]);
        let [turn, p256_turn] = [&rsa, &p256].map(|key| tokens_of_a_turn(&native, key));
        let rsa_count = (CONTESTS * (rounds + 1) + TURNS_OF_REPLAYS as usize) * turn;
        let rsa_tokens = Supply::sign(&rsa, rsa_count, folder.path());
        let p256_count = live_nonces + (rounds + 2) * p256_turn;
        let p256_tokens = Supply::sign(&p256, p256_count, folder.path());
        let capacity = rsa_count + p256_count;
        let local = Nonces::Local(capacity);
        Self {
            plain: start(&[vec![]]),
            idle: start(&[idle(&idle_module)]),
            native,
            void: start(&[filter(&module, &rsa, Nonces::Void)]),
            loaded: start(&[filter(&module, &rsa, local), filter(&module, &p256, local)]),
            rsa,
            rsa_tokens,
            p256_tokens,
            live_nonces,
            turn,
            capacity,
            module,
            folder,
        }
    }

    /// Fills the store of nonces; the bytes that Envoy has allocated for each.
    pub(super) fn fill(&self) -> f64 {
        // What the first requests bring along is no nonce's.
        let refused = Load::on(self.loaded.listener(1)).refused();
        refused.run(self.loaded.process());
        let before = self.loaded.allocated();
        while self.p256_tokens.used() < self.live_nonces {
            let load = Load {
                duration: Duration::from_secs(2),
                ..Load::on(self.loaded.listener(1))
            };
            self.p256_tokens.send(load, &self.loaded);
            eprintln!("  {} nonces", self.p256_tokens.used());
        }
        (self.loaded.allocated() as f64 - before as f64) / self.p256_tokens.used() as f64
    }

    pub(super) fn without_filter(&self) -> Sample {
        self.without_filter_under(|load| load)
    }

    /// With tokens too: they are bytes to read, wanted or not.
    pub(super) fn without_filter_under(&self, change: impl Fn(Load) -> Load) -> Sample {
        let load = change(Load::on(self.plain.listener(0)));
        self.rsa_tokens.again(load, 0, &self.plain)
    }

    pub(super) fn without_filter_again(&self) -> Sample {
        self.again(&self.plain, 0)
    }

    pub(super) fn idle_wasm_again(&self) -> Sample {
        self.again(&self.idle, 0)
    }

    pub(super) fn jwt_authn_rsa(&self) -> Sample {
        self.jwt_authn_under(|load| load)
    }

    pub(super) fn jwt_authn_under(&self, change: impl Fn(Load) -> Load) -> Sample {
        let load = change(Load::on(self.native.listener(0)));
        self.rsa_tokens.again(load, 0, &self.native)
    }

    pub(super) fn jwt_authn_p256(&self) -> Sample {
        let load = Load::on(self.native.listener(0));
        self.p256_tokens.again(load, 0, &self.native)
    }

    pub(super) fn void_rsa(&self) -> Sample {
        let load = Load::on(self.void.listener(0));
        self.rsa_tokens.again(load, 0, &self.void)
    }

    /// A fresh Envoy each time, whose store begins empty: at thousands of requests a second it is
    /// a matter of a second until a store has more than a few.
    pub(super) fn few_nonces_rsa(&self) -> Sample {
        let chain = filter(&self.module, &self.rsa, Nonces::Local(self.capacity));
        let envoy = EnvoyPeer::start(self.folder.path(), subject_core(), 1, &[chain]);
        self.after_warming_up(Load::on(envoy.listener(0)), &envoy)
    }

    /// The same with two workers, which the load does not leave a core for themselves.
    pub(super) fn two_workers(&self, contender: TwoWorkers) -> Sample {
        let chain = match contender {
            TwoWorkers::Plain => vec![],
            TwoWorkers::JwtAuthn => jwt_authn(&[&self.rsa], false),
            TwoWorkers::Filter => filter(&self.module, &self.rsa, Nonces::Local(self.capacity)),
        };
        let envoy = EnvoyPeer::start(self.folder.path(), &all_cores(), 2, &[chain]);
        let load = Load {
            threads: 2,
            cores: all_cores(),
            ..Load::on(envoy.listener(0))
        };
        self.after_warming_up(load, &envoy)
    }

    fn after_warming_up(&self, load: Load, envoy: &EnvoyPeer) -> Sample {
        let warm_up = Load::on(envoy.listener(0));
        self.rsa_tokens.again(warm_up, 0, envoy);
        // Two workers use more than a turn's.
        self.rsa_tokens.again(load, 2 * self.turn, envoy)
    }

    pub(super) fn loaded_rsa(&self) -> Sample {
        self.loaded_under(|load| load)
    }

    pub(super) fn loaded_under(&self, change: impl Fn(Load) -> Load) -> Sample {
        let load = change(Load::on(self.loaded.listener(0)));
        self.rsa_tokens.send(load, &self.loaded)
    }

    pub(super) fn loaded_p256(&self) -> Sample {
        self.p256_tokens
            .send(Load::on(self.loaded.listener(1)), &self.loaded)
    }

    pub(super) fn jwt_authn_again(&self) -> Sample {
        self.again(&self.native, 1)
    }

    pub(super) fn void_again(&self) -> Sample {
        self.again(&self.void, 0)
    }

    fn again(&self, envoy: &EnvoyPeer, listener: usize) -> Sample {
        let token = self.rsa.token("again and again and again and ag");
        Load::on(envoy.listener(listener))
            .with_token(&token)
            .run(envoy.process())
    }

    pub(super) fn no_token(&self) -> Sample {
        let load = Load::on(self.loaded.listener(0)).refused();
        load.run(self.loaded.process())
    }

    pub(super) fn bad_signature(&self) -> Sample {
        let forged = self.rsa.forged("claims that nobody has signed");
        let load = Load::on(self.loaded.listener(0)).with_token(&forged);
        load.refused().run(self.loaded.process())
    }

    /// Uses more tokens than a turn takes, for replays: where they begin.
    pub(super) fn use_for_replays(&self) -> usize {
        let first = self.rsa_tokens.used();
        self.loaded_under(|load| Load {
            duration: TURNS_OF_REPLAYS * load.duration,
            ..load
        });
        first
    }

    /// The nonce of each is somewhere else in memory.
    pub(super) fn replay(&self, first: usize) -> Sample {
        let load = Load::on(self.loaded.listener(0)).refused();
        self.rsa_tokens.again(load, first, &self.loaded)
    }
}

/// More requests than anybody answers in one turn who checks tokens of this key.
fn tokens_of_a_turn(native: &EnvoyPeer, key: &Key) -> usize {
    let token = key.token("to find out how fast this host is");
    let load = Load::on(native.listener(0)).with_token(&token);
    // The first one warms up.
    let [_, sample] = [(); 2].map(|()| load.run(native.process()));
    (sample.per_cpu_second * load.duration.as_secs_f64() * MARGIN) as usize
}
