//! Everybody who takes part, and what each is sent.

use super::filters::{Nonces, filter, idle, jwt_authn};
use super::supply::Supply;
use crate::envoy_peer::EnvoyPeer;
use crate::http;
use crate::load::{Load, Sample};
use crate::process::{ALL_CORES, SUBJECT_CORE};
use crate::tokens::Key;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Room for nonces: those that are live, and what comes while it is measured.
const CAPACITY: usize = 1_500_000;

/// More requests than anybody who takes tokens answers in one turn.
const TOKENS_A_TURN: usize = 35_000;

/// Turns with unique RS256 tokens besides the rounds: warming up, and finding out half the load.
const OTHER_TURNS: usize = 4;

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
        // Three contests use them up.
        let rsa_count = (3 * rounds + OTHER_TURNS) * TOKENS_A_TURN;
        let rsa_tokens = Supply::sign(&rsa, rsa_count, folder.path());
        let p256_count = live_nonces + (rounds + OTHER_TURNS) * TOKENS_A_TURN;
        let p256_tokens = Supply::sign(&p256, p256_count, folder.path());
        let start = |chains: &[_]| EnvoyPeer::start(folder.path(), SUBJECT_CORE, 1, chains);
        let local = Nonces::Local(CAPACITY);
        Self {
            plain: start(&[vec![]]),
            idle: start(&[idle(&idle_module)]),
            native: start(&[jwt_authn(&[&rsa, &p256], false), jwt_authn(&[&rsa], true)]),
            void: start(&[filter(&module, &rsa, Nonces::Void)]),
            loaded: start(&[filter(&module, &rsa, local), filter(&module, &p256, local)]),
            rsa,
            rsa_tokens,
            p256_tokens,
            live_nonces,
            module,
            folder,
        }
    }

    /// Fills the store of nonces; the bytes that Envoy has allocated for each.
    pub(super) fn fill(&self) -> f64 {
        let load = || Load {
            duration: Duration::from_secs(2),
            ..Load::on(self.loaded.listener(1))
        };
        // What the first requests bring along is no nonce's.
        self.p256_tokens.send(load(), &self.loaded);
        let (first, before) = (self.p256_tokens.used(), self.loaded.allocated());
        while self.p256_tokens.used() < self.live_nonces {
            self.p256_tokens.send(load(), &self.loaded);
            eprintln!("  {} nonces", self.p256_tokens.used());
        }
        let bytes = self.loaded.allocated() - before;
        bytes as f64 / (self.p256_tokens.used() - first) as f64
    }

    pub(super) fn without_filter(&self) -> Sample {
        self.without_filter_under(|load| load)
    }

    /// With tokens too: they are bytes to read, wanted or not.
    pub(super) fn without_filter_under(&self, change: impl Fn(Load) -> Load) -> Sample {
        let load = change(Load::on(self.plain.listener(0)));
        self.rsa_tokens.again(load, 0, &self.plain)
    }

    pub(super) fn idle_wasm(&self) -> Sample {
        let load = Load::on(self.idle.listener(0));
        self.rsa_tokens.again(load, 0, &self.idle)
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
        let chain = filter(&self.module, &self.rsa, Nonces::Local(CAPACITY));
        let envoy = EnvoyPeer::start(self.folder.path(), SUBJECT_CORE, 1, &[chain]);
        self.after_warming_up(Load::on(envoy.listener(0)), &envoy)
    }

    /// The same with two workers, which the load does not leave a core for themselves.
    pub(super) fn two_workers(&self, contender: TwoWorkers) -> Sample {
        let chain = match contender {
            TwoWorkers::Plain => vec![],
            TwoWorkers::JwtAuthn => jwt_authn(&[&self.rsa], false),
            TwoWorkers::Filter => filter(&self.module, &self.rsa, Nonces::Local(CAPACITY)),
        };
        let envoy = EnvoyPeer::start(self.folder.path(), ALL_CORES, 2, &[chain]);
        let load = Load {
            threads: 2,
            cores: ALL_CORES,
            ..Load::on(envoy.listener(0))
        };
        self.after_warming_up(load, &envoy)
    }

    fn after_warming_up(&self, load: Load, envoy: &EnvoyPeer) -> Sample {
        let warm_up = Load::on(envoy.listener(0));
        self.rsa_tokens.again(warm_up, 0, envoy);
        // Two workers use more than one.
        self.rsa_tokens.again(load, 2 * TOKENS_A_TURN, envoy)
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

    pub(super) fn jwt_authn_cached(&self) -> Sample {
        let token = self.rsa.token("again and again and again and ag");
        Load::on(self.native.listener(1))
            .with_token(&token)
            .run(self.native.process())
    }

    pub(super) fn void_again(&self) -> Sample {
        let token = self.rsa.token("again and again and again and ag");
        Load::on(self.void.listener(0))
            .with_token(&token)
            .run(self.void.process())
    }

    /// What is refused for want of a token, for its signature, and as a replay.
    pub(super) fn refused_loads(&self) -> [Load; 3] {
        let load = || Load::on(self.loaded.listener(0)).refused();
        let good = self.rsa.token("used by the first who comes here");
        let forged = self.rsa.forged("claims that nobody has signed");
        let address = self.loaded.listener(0);
        for (token, status) in [
            (None, 403),
            (Some(&*forged), 403),
            (Some(&*good), 200),
            (Some(&*good), 403),
        ] {
            let response = http::get(address, "/", token).expect("a response");
            assert_eq!(response.status, status, "{}", response.body);
        }
        [load(), load().with_token(&forged), load().with_token(&good)]
    }

    pub(super) fn loaded(&self, load: &Load) -> Sample {
        load.run(self.loaded.process())
    }
}
